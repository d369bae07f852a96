"""Many edits at once in one model: curves over the number of edits that live together."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, cast

from ..changes import Change, patch_of
from ..evaluation.perplexity import perplexity
from ..evaluation.scoring import Baseline, Case, score
from ..evaluation.stacking import without_each_other
from ..evaluation.summary import clustered_interval
from ..methods import load_method
from ..methods.ft_l import FTL
from ..records import Record
from ..request import EditRequest
from .base import Experiment
from .lab import Lab
from .render import METRICS, STACK_VIEW

SIZES = (1, 10, 30, 100)
PER_SIZE = 100  # edits measured at each size, in as many stacks as that takes
STACK_TASKS = ("counterfact", "recent")
PROBES = 4  # paraphrases and locality prompts per edit, drawn: a figure is a mean over a hundred edits
PROSE_STACKS = 10  # stacks, at most, under which it is taken
PROSE = 200  # sentences whose perplexity is taken


Stacker = Callable[[Sequence[EditRequest]], Change]


def _stack_row(lab: Lab, stacker: Stacker, cases: Sequence[Case], size: int, prose: Sequence[str]) -> dict:
    """`cases` in stacks of `size`, every case measured under its whole stack."""
    stacks = [
        without_each_other(cases[start : start + size], lab.source)
        for start in range(0, len(cases) - size + 1, size)
    ]
    patches = [patch_of(stacker([case.request for case in stack])) for stack in stacks]
    measured = [case for stack in stacks for case in stack]
    seen = [patch for stack, patch in zip(stacks, patches, strict=True) for _ in stack]
    rows = score(lab.backbone, Baseline(lab.backbone), measured, seen)
    values: dict[str, list[tuple[float, str]]] = {metric: [] for metric in METRICS}
    for case in measured:
        for metric in METRICS:
            own = [
                cast(float, row.generated) for row in rows if row.case == case.index and row.metric == metric
            ]
            values[metric] += [(fmean(own), case.record.subject)] if own else []
    perplexities = [perplexity(lab.backbone, prose, patch) for patch in patches[:PROSE_STACKS]]
    found: dict = {"stacks": len(stacks), "perplexity": fmean(perplexities)}
    for metric, pairs in values.items():
        means, subjects = zip(*pairs, strict=True)
        found |= {metric: fmean(means), f"{metric}_interval": clustered_interval(means, subjects, lab.seed)}
    return found


def different(cases: Sequence[Case], n: int, rng: random.Random) -> list[Case]:
    """n cases, no two about the same subject: edits that contradict each other cannot all hold."""
    found: dict[str, Case] = {}
    for case in rng.sample(cases, len(cases)):
        found.setdefault(case.record.subject, case)
    return list(found.values())[:n]


def _fewer(record: Record, rng: random.Random) -> Record:
    """The record with PROBES of its paraphrases and locality prompts."""
    drawn: dict[str, Any] = {
        name: tuple(rng.sample(pool, min(PROBES, len(pool))))
        for name in ("paraphrases", "locality")
        for pool in (getattr(record, name),)
    }
    return replace(record, **drawn)


def stacks(lab: Lab) -> list[dict]:
    """InstructEdit and MEND, jointly and one after another; FT-L on all at once and one after another."""
    drawn = [case for part in lab.cases(STACK_TASKS).values() for case in part]
    rng = random.Random(lab.seed)
    cases = [
        replace(case, index=i, record=_fewer(case.record, rng))
        for i, case in enumerate(different(drawn, PER_SIZE, rng))
    ]
    if len(cases) < max(SIZES):
        raise ValueError(
            f"{len(cases)} edits on different subjects were drawn and {max(SIZES)} are needed; ask for more "
            "with --n."
        )
    prose = [text for text in lab.source.prose if " " in text][:PROSE]
    instructedit, mend = lab.scoped(), lab.blind()
    ft_l = cast(FTL, load_method(FTL.name, lab.backbone))
    variants = {
        "InstructEdit, solved jointly": instructedit.together,
        "InstructEdit, one after another": instructedit.one_after_another,
        f"{lab.blind_title}, solved jointly": mend.together,
        f"{lab.blind_title}, one after another": mend.one_after_another,
        f"FT-L, at most {ft_l.config.steps} steps on all together": ft_l.together,
        "FT-L, one after another": ft_l.one_after_another,
    }
    base = perplexity(lab.backbone, prose, None)
    return [
        {
            "variant": name,
            "edits": size,
            **_stack_row(lab, stacker, cases, size, prose),
            "base_perplexity": base,
        }
        for name, stacker in variants.items()
        for size in SIZES
    ]


def _finding(rows: Sequence[dict]) -> str:
    most = max(row["edits"] for row in rows)
    last = [row for row in rows if row["edits"] == most]
    best, worst = (pick(last, key=lambda row: row["reliability"]) for pick in (max, min))
    return (
        f"Of {most} edits {best['reliability']:.0%} hold where they are made by {best['variant']}, "
        f"{worst['reliability']:.0%} by {worst['variant']}."
    )


STACKS = Experiment(
    "stacks",
    "Edits that live together",
    "How many edits hold at once, and what do they do to everything else?",
    stacks,
    _finding,
    uses_finished=True,
    view=STACK_VIEW,
)
