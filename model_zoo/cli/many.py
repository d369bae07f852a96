"""`edit --records`: a file of edits into one model."""

from typing import cast

from ..benchmarks import Loaded
from ..evaluation.scoring import Case
from ..many import AfterAll, Conflict, Keep, applying, cases_from, conflicts, settled
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
    cases, too_long = cases_from(studio, loaded, n, chat)
    if not cases:
        raise ValueError(f"No edit is left to make; the first problem: {too_long[0].reason}.")
    found = conflicts(cases, studio.source)
    clashes = [conflict for conflict in found if conflict.kind == "answers"]
    if clashes and keep == "stop":
        raise ValueError(
            f"{len(clashes)} pairs of edits contradict each other; the first: {clashes[0].in_words()}. Keep "
            "one of each with --conflicts last or --conflicts first, or mend the file."
        )
    kept = settled(cases, found, cast(Keep, keep))
    tell_read(loaded, found, len(cases) - len(kept))
    result = _applied(studio, kept, method, session)
    if as_json:
        told = loaded.to_dict()
        read = {key: told[key] for key in ("rows", "shape", "fields", "unread_fields")}
        refused = told["refused"] + [{"row": p.row, "field": p.field, "reason": p.reason} for p in too_long]
        emit(
            {"read": read, "refused": refused, "left_out": told["left_out"]}
            | {"conflicts": [_told(conflict) for conflict in found]}
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
