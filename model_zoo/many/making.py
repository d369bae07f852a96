"""All edits of a file made in one model, and every one judged after all."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..changes import Delta, concatenate
from ..evaluation.group_log import GroupLog
from ..evaluation.run import GROUP
from ..evaluation.scoring import Baseline, Case, Row, score
from ..evaluation.stacking import without_each_other
from ..methods import check_requests
from ..methods.base import AT_ONCE
from ..request import EditRequest
from ..session import Edit, EditSession
from ..studio import Studio

Order = Literal["jointly", "one-after-another"]


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
    studio: Studio,
    cases: Sequence[Case],
    method: str,
    session: EditSession | None = None,
    order: Order = "jointly",
    log: Path | None = None,
) -> Iterator[SoFar | AfterAll]:
    """Make all the edits, let them live together, and judge every one of them after all; `session`: on top of
    these. In one `order` each is made on the base model and all are combined, in the other each is made on
    the model as those before it left it. The last event is the result.

    Who stops early has what the last event said, and goes on from there by giving its session again: edits
    that it holds are not made again. `log`: a file that judged edits are kept in meanwhile.
    """
    start = time.perf_counter()
    wanted = list({case.request.prompt.casefold(): case.request for case in cases}.values())
    before, had = _begun(session or EditSession(), wanted, method, order)
    session, steps = before, _jointly if order == "jointly" else _one_after_another
    for made in steps(studio, wanted, method, before, had):
        session = before.add(*made)
        yield SoFar("editing", len(made), len(wanted), _left(start, len(made), len(wanted)), session)
    patch, judged = studio.patch(session), time.perf_counter()
    after: tuple[EditAfterAll, ...] = ()
    kept = without_each_other(cases, studio.source)
    done = GroupLog(log, _judged(studio, session, kept))
    for i in range(0, len(kept), GROUP):
        group = kept[i : i + GROUP]
        if not done.has(method, "edits", i):
            rows = score(studio.backbone, Baseline(studio.backbone), group, [patch] * len(group))
            done.add(method, "edits", i, rows)
        rows = done.rows[method, "edits", i]
        after += tuple(_after(case, [row for row in rows if row.case == case.index]) for case in group)
        yield SoFar("judging", len(after), len(kept), _left(judged, len(after), len(kept)), session, after)
    done.close()
    yield AfterAll(session, after, time.perf_counter() - start)


Had = dict[EditRequest, Edit]


def _begun(
    session: EditSession, wanted: Sequence[EditRequest], method: str, order: Order
) -> tuple[EditSession, Had]:
    """The session before these edits, and those of them that it holds already: where the last action made
    nothing else, it was this one, cut short.
    """
    asked = set(wanted)
    had = {
        edit.request: edit
        for edit in session.edits
        if edit == Edit(edit.request, method, edit.change, on_top=order != "jointly")
        and edit.request in asked
    }
    before = session.undo()
    standing = {id(edit.change) for edit in before.edits}
    last = [edit for edit in session.edits if id(edit.change) not in standing]
    return (before if last and all(edit.request in had for edit in last) else session), had


def _jointly(
    studio: Studio, wanted: Sequence[EditRequest], method: str, before: EditSession, had: Had
) -> Iterator[list[Edit]]:
    """The edits so far, each made on the base model, a batch at a time."""
    loaded, made = studio.method(method), list[Edit]()
    for i in range(0, len(wanted), AT_ONCE):
        part = wanted[i : i + AT_ONCE]
        if all(request in had for request in part):
            made += [had[request] for request in part]
        else:
            check_requests(type(loaded), part)
            changes = zip(part, loaded.propose(part), strict=True)
            made += [Edit(request, method, change) for request, change in changes]
        yield made


def _one_after_another(
    studio: Studio, wanted: Sequence[EditRequest], method: str, before: EditSession, had: Had
) -> Iterator[list[Edit]]:
    """The edits so far, each made on the model as those before it left it."""
    loaded, made = studio.method(method), list[Edit]()
    check_requests(type(loaded), wanted)
    patch = studio.patch(before.without(request.prompt for request in wanted))
    if patch is not None and patch.beside_weights:
        raise ValueError(
            "Edits beside the weights are on, and none can be made on top of them; switch them off."
        )
    total = None if patch is None else patch.delta
    for request in wanted:
        edit = had.get(request) or Edit(request, method, loaded.extend(total, request), on_top=True)
        if not isinstance(edit.change, Delta):
            raise ValueError(
                f"{loaded.pretty_name} makes no weight changes, so none is made on top of another."
            )
        total = edit.change if total is None else concatenate([total, edit.change])
        made.append(edit)
        if len(made) % AT_ONCE == 0 or len(made) == len(wanted):
            yield made


def _judged(studio: Studio, session: EditSession, cases: Sequence[Case]) -> dict:
    """What decides how edits are judged: another base, session or file is another run."""
    edits = [(e.request, e.method, e.strength, e.on, e.hyperparameters, e.on_top) for e in session.edits]
    made_by = sorted(studio.method(name).fingerprint for name in {edit.method for edit in session.edits})
    told = repr((edits, made_by, list(cases)))
    return {"base": studio.backbone.fingerprint, "edits": hashlib.sha256(told.encode()).hexdigest()}


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
