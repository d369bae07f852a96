"""Rows -> means with intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from .metrics import METRICS, RISE, SCORES
from .scoring import Row

OF_TEXT = ("fluency", "degenerate", RISE)  # of text, whatever was wanted


@dataclass(frozen=True)
class Summary:
    """Mean over cases of each case's mean over prompts, with a bootstrap 95% interval clustered by subject.
    Fluency is in bits, the rise of perplexity a share of the base's.
    """

    metric: str
    score: str  # one of SCORES
    n: int
    subjects: int
    mean: float
    low: float
    high: float


def clustered_interval(
    values: Sequence[float], clusters: Sequence[str], seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """95% percentile interval of the mean, resampling whole clusters."""
    groups: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        groups[cluster].append(value)
    sums = np.array([[sum(group), len(group)] for group in groups.values()], dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(sums), size=(draws, len(sums)))
    means = sums[picks, 0].sum(1) / sums[picks, 1].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


class Mean(NamedTuple):
    """The mean of n independent values, with a bootstrap 95% interval."""

    n: int
    mean: float
    low: float
    high: float


def mean_of(values: Sequence[float]) -> Mean:
    return Mean(len(values), fmean(values), *clustered_interval(values, [str(i) for i in range(len(values))]))


def summarise(rows: Sequence[Row], subjects: Mapping[int, str], seed: int = 0) -> list[Summary]:
    """`subjects`: the cluster of every case. A metric that no case has is left out."""
    summaries = []
    for metric in METRICS:
        for name, held in ((name, score.field) for name, score in SCORES.items()):
            cases: dict[int, list[float]] = defaultdict(list)
            for row in rows:
                if row.metric == metric and getattr(row, held) is not None:
                    cases[row.case].append(getattr(row, held))
            if not cases:
                continue
            values, clusters = [fmean(v) for v in cases.values()], [subjects[case] for case in cases]
            low, high = clustered_interval(values, clusters, seed)
            summaries.append(Summary(metric, name, len(values), len(set(clusters)), fmean(values), low, high))
    return summaries
