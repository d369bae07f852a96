"""Metrics over edits: reliability, generality, locality, portability, fluency; the run that measures them;
its report.
"""

from .planning import ALL, Plan
from .run import Results, evaluate, measuring
from .scoring import Baseline, Case, Row, score
from .summary import METRICS, Summary, clustered_interval, mean_of, summarise
from .text import base_answer, contains, fluency, recall, starts_with, unchanged

__all__ = [
    "ALL",
    "METRICS",
    "Baseline",
    "Case",
    "Plan",
    "Results",
    "Row",
    "Summary",
    "base_answer",
    "clustered_interval",
    "contains",
    "evaluate",
    "fluency",
    "mean_of",
    "measuring",
    "recall",
    "score",
    "starts_with",
    "summarise",
    "unchanged",
]
