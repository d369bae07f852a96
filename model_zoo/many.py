"""Many edits at once: conflicts between them found beforehand, all made in one model, every one judged after
all.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from .benchmarks import Loaded
from .evaluation import Plan
from .evaluation.planning import cases_of
from .evaluation.run import GROUP
from .evaluation.scoring import Baseline, Case, Row, score
from .evaluation.stacking import without_each_other
from .evaluation.text import starts_with
from .methods.base import AT_ONCE
from .session import Edit, EditSession
from .sources import Source
from .studio import Studio

Keep = Literal["last", "first"]


@dataclass(frozen=True)
class Conflict:
    """Two edits (their places in the file, from 0) that cannot both be had: `kind` is "answers" where they
    give one fact two answers, "protects" where what `first` keeps in place is what `second` changes.
    """

    kind: Literal["answers", "protects"]
    first: int
    second: int
    prompt: str
    found: tuple[str, str]

    def in_words(self) -> str:
        one, other = self.found
        if self.kind == "answers":
            pair = f"edits {self.first + 1} and {self.second + 1}"
            return f"{pair} answer '{self.prompt}' by '{one}' and '{other}'"
        return (
            f"edit {self.first + 1} wants '{self.prompt}' to stay '{one}', and edit {self.second + 1} "
            f"changes it to '{other}'"
        )


def conflicts(cases: Sequence[Case], source: Source) -> list[Conflict]:
    """The conflicts among edits. Of those about one fact each is held against the first and the last."""
    made: dict[tuple, list[Case]] = {}
    for case in cases:
        made.setdefault(source.fact_key(case.request.prompt), []).append(case)
    found: dict[tuple[int, int], Conflict] = {}
    for same in made.values():
        for one, other in (*((same[0], case) for case in same), *((case, same[-1]) for case in same)):
            answers = (one.request.target, other.request.target)
            if not _agree(*answers):
                pair = (one.index, other.index)
                found[pair] = Conflict("answers", *pair, other.request.prompt, answers)
    protecting = [
        Conflict("protects", case.index, other.index, probe.prompt, (probe.answer, other.request.target))
        for case in cases
        for probe in case.record.locality
        for other in made.get(source.fact_key(probe.prompt), ())
        if other is not case and probe.answer and not _agree(other.request.target, probe.answer)
    ]
    return [*found.values(), *protecting]


def _agree(one: str, other: str) -> bool:
    return starts_with(one, other) or starts_with(other, one)


@dataclass(frozen=True)
class FilePlan:
    """What a file of edits comes to on a model, before anything is made: what was read of it, its edits as
    cases, and the conflicts between them.
    """

    loaded: Loaded
    cases: tuple[Case, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def contradictions(self) -> list[Conflict]:
        return [conflict for conflict in self.conflicts if conflict.kind == "answers"]

    def kept(self, keep: Keep) -> list[Case]:
        """The cases to be made: where some answer one fact differently, the last or the first of them."""
        dropped = {c.first if keep == "last" else c.second for c in self.contradictions}
        return [case for case in self.cases if case.index not in dropped]


def planned(studio: Studio, loaded: Loaded, n: int | None = None, chat: bool = True) -> FilePlan:
    """A plan for the first n edits of a file; with `chat` a chat model is asked its questions in its
    template. ValueError where the model has no room for any of them.
    """
    prompts = "chat" if chat and studio.backbone.chats else "plain"
    plan = Plan(studio.name, (), (), len(loaded.records), prompts=prompts)
    cases, too_long = cases_of(loaded.records[:n], "edit", plan, studio.backbone, studio.source)
    if not cases:
        raise ValueError(f"No edit is left to make; the first problem: {too_long[0].reason}.")
    loaded = replace(loaded, skipped=(*loaded.skipped, *too_long))
    return FilePlan(loaded, tuple(cases), tuple(conflicts(cases, studio.source)))


@dataclass(frozen=True)
class SoFar:
    """How far it is: `stage` is "editing" or "judging"; `left` in seconds, from what was done so far;
    `session` with the edits that are made, and those of them that are judged.
    """

    stage: str
    done: int
    total: int
    left: float
    session: EditSession
    edits: "tuple[EditAfterAll, ...]" = ()


@dataclass(frozen=True)
class EditAfterAll:
    """One edit after all of them: what its own prompt said before and after, whether it holds, and how many
    of its record's prompts do as they should.
    """

    prompt: str
    target: str
    before: str
    after: str
    held: bool
    follows: tuple[int, int] = (0, 0)  # other wordings that say the target, of so many
    stays: tuple[int, int] = (0, 0)  # prompts around it that stayed, of so many


@dataclass(frozen=True)
class AfterAll:
    """The session with all edits, and each of them as it is after all."""

    session: EditSession
    edits: tuple[EditAfterAll, ...]
    seconds: float

    @property
    def held(self) -> float:
        """The share of edits that hold."""
        return sum(edit.held for edit in self.edits) / max(len(self.edits), 1)

    def to_dict(self) -> dict:
        return {
            "edits": [asdict(edit) for edit in self.edits],
            "held": self.held,
            "curve": curve(self.edits),
            "seconds": self.seconds,
        }


def curve(edits: Sequence[EditAfterAll]) -> list[tuple[int, float]]:
    """(k, share of the first k edits that hold), at about twenty k."""
    n = len(edits)
    places = sorted({max(1, round(n * i / 20)) for i in range(1, 21)}) if n else []
    return [(k, sum(edit.held for edit in edits[:k]) / k) for k in places]


def applying(
    studio: Studio, cases: Sequence[Case], method: str, session: EditSession | None = None
) -> Iterator[SoFar | AfterAll]:
    """Make all the edits on the base model, let them live together, and judge every one of them after all;
    `session`: on top of these. The last event is the result.

    Who stops early has what the last event said.
    """
    start, loaded = time.perf_counter(), studio.method(method)
    before, made = session or EditSession(), list[Edit]()
    session = before
    for i in range(0, len(cases), AT_ONCE):
        part = [case.request for case in cases[i : i + AT_ONCE]]
        changes = zip(part, loaded.propose(part), strict=True)
        made += [Edit(request, method, change) for request, change in changes]
        session = before.add(*made)
        done = min(i + AT_ONCE, len(cases))
        yield SoFar("editing", done, len(cases), _left(start, done, len(cases)), session)
    patch, judged = studio.patch(session), time.perf_counter()
    after: tuple[EditAfterAll, ...] = ()
    kept = without_each_other(cases, studio.source)
    for i in range(0, len(kept), GROUP):
        group = kept[i : i + GROUP]
        rows = score(studio.backbone, Baseline(studio.backbone), group, [patch] * len(group))
        after += tuple(_after(case, [row for row in rows if row.case == case.index]) for case in group)
        yield SoFar("judging", len(after), len(kept), _left(judged, len(after), len(kept)), session, after)
    yield AfterAll(session, after, time.perf_counter() - start)


def _left(start: float, done: int, total: int) -> float:
    return (time.perf_counter() - start) / done * (total - done)


def _after(case: Case, rows: Sequence[Row]) -> EditAfterAll:
    own = next(row for row in rows if row.metric == "reliability")

    def counted(metric: str) -> tuple[int, int]:
        values = [row.generated for row in rows if row.metric == metric]
        return sum(map(bool, values)), len(values)

    return EditAfterAll(
        case.request.prompt,
        case.request.target,
        own.before,
        own.after,
        bool(own.generated),
        counted("generality"),
        counted("locality"),
    )
