"""`edit --records`: a file of edits into one model."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import typer

from ..benchmarks import Loaded
from ..evaluation.scoring import Case
from ..many import AfterAll, Conflict, FilePlan, Order, SoFar, applying, planned
from ..session import EditSession
from ..session_files import save_session
from ..studio import Studio
from .options import emit
from .telling import tell_all, tell_read

SAVED_EVERY = 30  # seconds, at least, between two savings of what is made so far


@dataclass(frozen=True)
class Wish:
    """How a file is to be edited in. `keep`: last, first, ask or stop; `folder`: where the session is saved,
    on the way too.
    """

    method: str
    n: int | None
    keep: str
    chat: bool
    probes: int
    order: Order
    folder: Path | None


def edit_records(studio: Studio, loaded: Loaded, wish: Wish, session: EditSession, as_json: bool) -> AfterAll:
    """Say what was read, make all edits, say what holds. ValueError where two of them conflict and none is to
    be kept.
    """
    plan = planned(studio, loaded, wish.n, wish.chat, wish.probes)
    if plan.contradictions and wish.keep == "stop":
        raise ValueError(
            f"{len(plan.contradictions)} pairs of edits contradict each other; the first: "
            f"{plan.contradictions[0].in_words()}. Keep one of each with --conflicts last or --conflicts "
            "first, be asked with --conflicts ask, or mend the file."
        )
    kept = _kept(plan, wish.keep)
    tell_read(plan, len(plan.cases) - len(kept), wish.probes)
    result = _applied(studio, kept, wish, session)
    if as_json:
        told = plan.loaded.to_dict()
        read = {key: told[key] for key in ("rows", "shape", "fields", "unread_fields")}
        emit(
            {"read": read, "refused": told["refused"], "left_out": told["left_out"]}
            | {"not_taken": plan.beyond, "not_made": len(plan.cases) - len(kept)}
            | {"conflicts": [_told(conflict) for conflict in plan.conflicts]}
            | result.to_dict()
        )
    else:
        tell_all(result)
    return result


def _kept(plan: FilePlan, keep: str) -> list[Case]:
    """The edits to be made; with "ask" the user says which of those about one fact."""
    if keep != "ask":
        return plan.kept("first" if keep == "first" else "last")
    chosen: list[int] = []
    for same in plan.disputed:
        typer.echo(f"'{same[-1].request.prompt}' is answered differently:", err=True)
        for case in same:
            typer.echo(f"  {case.index + 1}: {case.request.prompt} -> {case.request.target}", err=True)
        places, answer = [case.index + 1 for case in same], -1
        while answer not in (0, *places):
            answer = typer.prompt("Which is made (0: none)?", default=places[-1], type=int, err=True)
        chosen.append(answer - 1)
    return plan.kept(chosen)


def _applied(studio: Studio, cases: list[Case], wish: Wish, session: EditSession) -> AfterAll:
    from tqdm import tqdm

    result: AfterAll | None = None
    log = wish.folder and wish.folder.with_name(f"{wish.folder.name}.judged")
    saved = time.monotonic()
    bar = tqdm(mininterval=2, unit="edit")
    for event in applying(studio, cases, wish.method, session, wish.order, log):
        if isinstance(event, AfterAll):
            result = event
            continue
        bar.set_description(event.stage)
        bar.total, bar.n = event.total, event.done
        bar.refresh()
        if wish.folder and _is_worth_saving(event, saved):
            save_session(event.session, studio, wish.folder)
            saved = time.monotonic()
    bar.close()
    return cast(AfterAll, result)


def _is_worth_saving(event: SoFar, saved: float) -> bool:
    """Whether what is made would be missed: once in a while, and when all is made."""
    waited = time.monotonic() - saved > SAVED_EVERY
    return event.stage == "editing" and (waited or event.done == event.total)


def _told(conflict: Conflict) -> dict:
    return {
        "kind": conflict.kind,
        "edits": [conflict.first + 1, conflict.second + 1],
        "prompt": conflict.prompt,
        "answers": list(conflict.found),
    }
