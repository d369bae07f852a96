"""The same edit made several times, each on the base model alone: by several methods, or under several
instructions. Results come one after another.
"""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .changes import Change, patch_of
from .evaluation import starts_with, unchanged
from .events import Check, Reached, TextSoFar
from .generation import divergences, generate
from .methods import METHODS, Hyperparameters, check_requests
from .request import EditRequest
from .scopes import TASK_WORD, ScopeProbe
from .session import Edit, EditSession
from .sources.frames import NEUTRAL
from .studio import Studio

LONG = 16  # tokens of neutral text, per prompt, whose drift is taken


@dataclass(frozen=True)
class Compared:
    """What one method made of the edit. `drift`: nats per token by which neutral text moves away from the
    base; `kept`: numbers that the edit keeps; `touched`: weights of the matrices that it changes; `listed`:
    of the edits that were made with it so many hold, of so many. Where it could not be made, `problem` says
    why and the rest is empty.
    """

    method: str
    title: str
    before: str = ""
    after: str = ""
    held: bool = False
    degenerate: bool = False
    probability: float = 0.0
    generality: tuple[Check, ...] = ()
    locality: tuple[Check, ...] = ()
    drift: float = 0.0
    seconds: float = 0.0
    loading: float = 0.0
    kept: int = 0
    touched: int = 0
    listed: tuple[int, int] = (0, 0)
    problem: str = ""

    @property
    def follows(self) -> tuple[int, int]:
        """Other wordings that say the target, of so many."""
        return _counted(self.generality)

    @property
    def stays(self) -> tuple[int, int]:
        """Prompts around it that stayed, of those that are judged."""
        return _counted(self.locality)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _counted(checks: Sequence[Check]) -> tuple[int, int]:
    judged = [check for check in checks if check.held is not None]
    return sum(bool(check.held) for check in judged), len(judged)


COLUMNS = (
    "method",
    "after",
    "holds",
    "target likely",
    "other wordings follow",
    "others stay",
    "neutral text moved",
    "seconds",
    "numbers kept",
    "weights touched",
)
LISTED = "of the list hold"  # a further column, where a list of edits is compared


def table_row(row: Compared) -> tuple[str, ...]:
    """A row of the table whose columns COLUMNS names; a problem stands in place of the text."""
    if row.problem:
        return (row.title, row.problem, *[""] * (len(COLUMNS) - 2))
    return (
        row.title,
        row.after,
        "yes" if row.held else "no",
        f"{row.probability:.1%}",
        share(*row.follows),
        share(*row.stays),
        f"{row.drift:.3f}",
        f"{row.seconds:.1f}",
        f"{row.kept:,}",
        f"{row.touched:,}",
    )


def share(part: int, whole: int) -> str:
    """So many of so many, in words; empty where there are none."""
    return f"{part} of {whole}" if whole else ""


def write_table(rows: Sequence[Compared], path: Path) -> Path:
    """The table as a CSV file; returns it."""
    table = [COLUMNS, *map(table_row, rows)]
    if any(row.listed[1] for row in rows):
        listed = [LISTED, *(share(*row.listed) for row in rows)]
        table = [(*cells, more) for cells, more in zip(table, listed, strict=True)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    return path


def requests_of(session: EditSession) -> list[EditRequest]:
    """What the session's edits that are on were asked to do. ValueError where one holds more than it says."""
    for edit in session.active:
        if edit.more:
            raise ValueError(
                f"The edit '{edit.label}' was opened from an export and holds {edit.more} more, whose "
                "requests other methods would need; switch it off to compare."
            )
    return [edit.request for edit in session.active]


def comparing(
    studio: Studio,
    request: EditRequest,
    methods: Sequence[str],
    hyper: Mapping[str, Hyperparameters] | None = None,
    others: Sequence[EditRequest] = (),
) -> Iterator[Compared]:
    """One row per method, as they come. A method that cannot make the edit says why in its row. With `others`
    every method makes all of them and the edit in one model.
    """
    neutral, others = _neutral(studio), [other for other in others if other != request]
    for name in methods:
        title = METHODS[name].pretty_name
        try:
            yield _compared(studio, [*others, request], name, title, (hyper or {}).get(name), neutral)
        except ValueError as error:
            yield Compared(name, title, problem=str(error))


def _neutral(studio: Studio) -> list[tuple[str, str]]:
    """Prompts that no edit is about, with what the base model goes on to say."""
    prompts = [probe.prompt for probe in NEUTRAL]
    said = generate(studio.backbone, prompts, None, LONG)
    return [pair for pair in zip(prompts, said, strict=True) if pair[1]]


def _compared(
    studio: Studio,
    requests: Sequence[EditRequest],
    name: str,
    title: str,
    hyper: Hyperparameters | None,
    neutral: Sequence[tuple[str, str]],
) -> Compared:
    """The row of one method: the last of the requests, made with those before it."""
    start = time.perf_counter()
    method = studio.method(name, hyper)
    loading = time.perf_counter() - start
    check_requests(type(method), requests)
    start = time.perf_counter()
    change: Change = method.together(requests) if len(requests) > 1 else method.propose(requests)[0]
    seconds = time.perf_counter() - start
    *others, request = requests
    session, patch = EditSession(tuple(Edit(own, name, change) for own in requests)), patch_of(change)
    put = studio.put(request.prompt, request)
    ((before, after),) = studio.pairs([put], patch)
    said = studio.pairs([studio.put(other.prompt, other) for other in others], patch)
    hold = [studio.holds(other, text) for other, (_, text) in zip(others, said, strict=True)]
    verdicts = studio.check(request, session, patch)
    drifts = divergences(studio.backbone, neutral, [patch] * len(neutral)) if neutral else [0.0]
    touched = [studio.backbone.shape(effect.module) for effect in change.effects(studio.backbone)]
    return Compared(
        name,
        title,
        before,
        after,
        studio.holds(request, after),
        TextSoFar(before, after).degenerate,
        studio.target_probability(put, request.target, patch).after,
        verdicts.generality,
        verdicts.locality,
        sum(drifts) / len(drifts),
        seconds,
        loading,
        change.numbers,
        sum(rows * columns for rows, columns in touched),
        (sum(hold), len(hold)),
    )


# ---- the same edit under several instructions --------------------------------------------------------------


def comparing_scopes(
    studio: Studio, prompt: str, target: str, instructions: Sequence[str]
) -> Iterator[list[Reached]]:
    """The probes around an edit that was made once under each instruction, as they are asked, nearest
    first.
    """
    prompt, target = prompt.strip(), target.strip()
    requests = [EditRequest(prompt, target, TASK_WORD, (text or "").strip() or None) for text in instructions]
    method = studio.method(studio.default_method())
    patches = [None, *(patch_of(change) for change in method.propose(requests))]
    probes = [probe for probe in studio.source.scope_case(prompt, target).probes if studio.fits(probe.prompt)]
    found = []
    for kind in dict.fromkeys(probe.kind for probe in probes):
        asked = [probe for probe in probes if probe.kind == kind]
        rows = [probe.prompt for probe in asked for _ in patches]
        said = iter(generate(studio.backbone, rows, patches * len(asked)))
        found += [_reached(probe, target, *(next(said) for _ in patches)) for probe in asked]
        yield list(found)


def _reached(probe: ScopeProbe, target: str, before: str, *after: str) -> Reached:
    moved = tuple(not unchanged(before, text, probe.answer) for text in after)
    follows = tuple(starts_with(text, target) for text in after)
    return Reached(probe.prompt, probe.kind, before, after, moved, follows)
