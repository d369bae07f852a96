"""`edit --records`: a file of edits into one model."""

from typing import cast

from ..benchmarks import Loaded
from ..evaluation.scoring import Case
from ..many import AfterAll, Conflict, applying, planned
from ..session import EditSession
from ..studio import Studio
from .options import emit
from .telling import tell_all, tell_read


def edit_records(
    studio: Studio,
    loaded: Loaded,
    method: str,
    n: int | None,
    keep: str,
    chat: bool,
    session: EditSession,
    as_json: bool,
) -> AfterAll:
    """Say what was read, make all edits, say what holds. ValueError where two of them conflict and none is to
    be kept.
    """
    plan = planned(studio, loaded, n, chat)
    if plan.contradictions and keep == "stop":
        raise ValueError(
            f"{len(plan.contradictions)} pairs of edits contradict each other; the first: "
            f"{plan.contradictions[0].in_words()}. Keep one of each with --conflicts last or --conflicts "
            "first, or mend the file."
        )
    kept = plan.kept("first" if keep == "first" else "last")
    tell_read(plan, len(plan.cases) - len(kept))
    result = _applied(studio, kept, method, session)
    if as_json:
        told = plan.loaded.to_dict()
        read = {key: told[key] for key in ("rows", "shape", "fields", "unread_fields")}
        emit(
            {"read": read, "refused": told["refused"], "left_out": told["left_out"]}
            | {"conflicts": [_told(conflict) for conflict in plan.conflicts]}
            | result.to_dict()
        )
    else:
        tell_all(result)
    return result


def _applied(studio: Studio, cases: list[Case], method: str, session: EditSession) -> AfterAll:
    from tqdm import tqdm

    result: AfterAll | None = None
    bar = tqdm(mininterval=2, unit="edit")
    for event in applying(studio, cases, method, session):
        if isinstance(event, AfterAll):
            result = event
        else:
            bar.set_description(event.stage)
            bar.total = event.total
            bar.n = event.done
            bar.refresh()
    bar.close()
    return cast(AfterAll, result)


def _told(conflict: Conflict) -> dict:
    return {
        "kind": conflict.kind,
        "edits": [conflict.first + 1, conflict.second + 1],
        "prompt": conflict.prompt,
        "answers": list(conflict.found),
    }
