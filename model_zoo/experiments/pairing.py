"""Two methods on the same edits: how far one is ahead of the other."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from ..evaluation.scoring import Case, Row
from ..tasks import TASKS
from .render import METRICS

# the metrics of the rows here, and the figures whose mean each is the difference of
DIFFERENCES = {"mean of the three figures": METRICS, "reliability alone": METRICS[:1]}
DRAWS = 1000

Measured = Mapping[str, Sequence[Row]]  # of one training: rows by task
Cells = dict[
    tuple[str, str], list[tuple[str, float]]
]  # by figure and task: each edit's subject and difference


def ahead(
    variant: str,
    own: Sequence[Measured],
    other: Sequence[Measured],
    cases: Mapping[str, Sequence[Case]],
    seed: int,
) -> Iterator[dict]:
    """How far the trainings of a method are ahead of those of another on the same edits, over the trained
    tasks and over those held out: differences by edit, averaged as the tables are, over edits, tasks and
    figures.

    The bootstrap 95% interval is over the edits' subjects, given these trainings; `trainings` has the
    difference of each pair of them.
    """
    for held_out in (False, True):
        part = {task: cases[task] for task in cases if TASKS[task].trained != held_out}
        told = {"variant": variant, "task": " + ".join(part), "held_out": held_out, "score": "generated"}
        for metric, figures in DIFFERENCES.items() if part else ():
            each = [_cells(one, two, part, figures) for one, two in zip(own, other, strict=True)]
            pooled: Cells = {cell: [v for cells in each for v in cells[cell]] for cell in each[0]}
            low, high = _interval(pooled, seed)
            yield told | {
                "metric": metric,
                "n": sum(map(len, part.values())),
                "subjects": len({case.record.subject for own_cases in part.values() for case in own_cases}),
                "mean": _mean(pooled),
                "low": low,
                "high": high,
                "trainings": [_mean(cells) for cells in each],
            }


def _cells(
    own: Measured, other: Measured, cases: Mapping[str, Sequence[Case]], figures: Sequence[str]
) -> Cells:
    """The differences of two trainings."""
    found: Cells = {}
    for task, part in cases.items():
        one, two = _by_edit(own[task]), _by_edit(other[task])
        for figure in figures:
            values = [
                (case.record.subject, one[figure, case.index] - two[figure, case.index])
                for case in part
                if (figure, case.index) in one
            ]
            if values:
                found[figure, task] = values
    return found


def _by_edit(rows: Sequence[Row]) -> dict[tuple[str, int], float]:
    """An edit's mean over its prompts, by figure and case."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        hit = row.generated if row.sentiment is None else row.sentiment
        if hit is not None:
            found[row.metric, row.case].append(hit)
    return {key: fmean(values) for key, values in found.items()}


def _mean(cells: Cells, drawn: Mapping[str, int] | None = None) -> float:
    """The mean over edits (those of a subject as often as it was `drawn`), then over tasks, then over
    figures.
    """
    means: dict[str, list[float]] = defaultdict(list)
    for (figure, _), values in cells.items():
        weights = [1 if drawn is None else drawn.get(subject, 0) for subject, _ in values]
        if any(weights):
            means[figure].append(float(np.average([value for _, value in values], weights=weights)))
    return fmean(map(fmean, means.values()))


def _interval(cells: Cells, seed: int) -> tuple[float, float]:
    """95% percentile interval of the mean, resampling whole subjects."""
    subjects = sorted({subject for values in cells.values() for subject, _ in values})
    rng, means = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        picked, times = np.unique(rng.integers(0, len(subjects), len(subjects)), return_counts=True)
        means.append(_mean(cells, {subjects[i]: int(n) for i, n in zip(picked, times, strict=True)}))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
