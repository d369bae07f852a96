"""Side effects over many edits: the findings of single edits, averaged; and what stacks of edits do."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

from ..changes import patch_of
from ..evaluation import mean_of
from ..evaluation.ability import Question, ability
from ..evaluation.text import agree
from ..methods import check_requests
from ..records import Record
from ..request import EditRequest
from ..session import Edit, EditSession
from ..studio import Studio
from . import Inspector
from .findings import Traced
from .trying import against

MOST = 10  # listed facts of a kind that each edit is asked about
TASK = "counterfact"
BASE = "base"  # in place of a method: the model without edits


@dataclass(frozen=True)
class Measured:
    """One measure of one method after so many edits: its mean over `n` cases, a 95% bootstrap interval."""

    method: str
    edits: int
    measure: str
    n: int
    mean: float
    low: float
    high: float


def drawn(studio: Studio, n: int, seed: int = 0) -> list[Record]:
    """Edits of facts that the base model is listed to know, to other answers."""
    return studio.reference.records(TASK, "test", n, random.Random(seed))


def requests(studio: Studio, records: Sequence[Record]) -> list[EditRequest]:
    return [studio.request(TASK, r.request.prompt, r.request.target) for r in records]


def single_edits(
    inspector: Inspector, method: str, wanted: Sequence[EditRequest]
) -> Iterator[tuple[int, list[Measured]]]:
    """(edits done, what was measured so far) after every edit, each alone on the base model."""
    found = defaultdict[str, list[float]](list)
    for done, request in enumerate(wanted, 1):
        edit, _ = inspector.studio.propose(request, method)
        behind = [*wanted[done:], *wanted[: done - 1]]
        for measure, value in _of_one(inspector, edit, behind):
            found[measure].append(value)
        yield done, [Measured(method, 1, name, *mean_of(values)) for name, values in found.items()]


def _of_one(inspector: Inspector, edit: Edit, others: Sequence[EditRequest]) -> Iterator[tuple[str, float]]:
    """(measure, value) of an edit; `others` give it another target for one that contradicts it."""
    session = EditSession((edit,))
    patch = inspector.studio.patch(session)
    text = inspector.neutral(patch)
    yield "divergence", text.divergence
    yield "perplexity rise", text.rise
    *_, known = inspector.knowledge(edit, session)
    for kind, (stay, n) in known.counts().items():
        yield f"{kind} stays", stay / n
    if steps := inspector.consequences(edit, patch).steps:
        yield "follows", fmean(step.follows for step in steps)
    old = inspector.old_answer(edit)
    back = inspector.edited_back(edit, session, old)
    if back.prompts:
        yield "as at first", back.same / len(back.prompts)
    taken = (edit.request.target, old)
    rival = next((o.target for o in others if not any(agree(o.target, answer) for answer in taken)), None)
    if rival and (shares := against(inspector.studio, edit, rival)):
        yield from zip(("later wins", "earlier stays"), shares, strict=True)


def stack(
    inspector: Inspector,
    method: str,
    wanted: Sequence[EditRequest],
    questions: Mapping[str, Sequence[Question]],
) -> list[Measured]:
    """All edits in one model: whether they hold, and what running text and general ability come to. Without
    edits the base model's own figures.
    """
    studio, patch = inspector.studio, None
    if wanted:
        made = studio.method(method)
        check_requests(type(made), wanted)
        patch = patch_of(made.together(wanted))
    text = inspector.neutral(patch)
    found = {
        "divergence": [p.divergence for p in text.passages],
        "perplexity rise": [p.after / p.before - 1 for p in text.passages],
    }
    if wanted:
        said = studio.pairs([studio.put(request.prompt, request) for request in wanted], patch)
        found["holds"] = [
            float(studio.holds(own, after)) for own, (_, after) in zip(wanted, said, strict=True)
        ]
    for name, asked in questions.items():
        found[name] = [float(hit) for hit in ability(studio.backbone, asked, patch)]
    return [Measured(method, len(wanted), name, *mean_of(values)) for name, values in found.items()]


# ---- tracing -----------------------------------------------------------------------------------------------

ROLES = (
    "before the subject",
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "behind it",
    "last token",
)


def roles(traced: Traced) -> list[str]:
    """What each token of a prompt is, as one of ROLES (Meng et al. 2022, figure 2)."""
    start, end, n = *traced.subject, len(traced.tokens)
    return [
        "before the subject" if i < start else
        "last subject token" if i == end - 1 else
        "first subject token" if i == start else
        "middle subject tokens" if i < end else
        "last token" if i == n - 1 else
        "behind it"
        for i in range(n)
    ]  # fmt: skip


def averaged(traces: Sequence[Traced]) -> list[dict[str, Any]]:
    """Rows {role, block} and a Mean of the share of the answer that comes back, over the traces that
    have something to bring back.
    """
    cells: dict[tuple[str, int], list[float]] = defaultdict(list)
    for found in traces:
        for block, shares in zip(found.blocks, found.share, strict=True):
            of_role = sorted(zip(roles(found), shares, strict=True), key=lambda pair: ROLES.index(pair[0]))
            for role, own in groupby(of_role, key=lambda pair: pair[0]):
                cells[role, block].append(fmean(share for _, share in own))
    ordered = sorted(cells.items(), key=lambda item: (ROLES.index(item[0][0]), item[0][1]))
    return [{"role": role, "block": block, **mean_of(own)._asdict()} for (role, block), own in ordered]
