"""The contract of an experiment: a question, and what answers it with rows."""

from collections.abc import Callable
from dataclasses import dataclass

from .lab import Lab
from .render import METRIC_VIEW, View


@dataclass(frozen=True)
class Experiment:
    """`question` is what it asks; `run(lab)` answers with rows, which `view` shows."""

    name: str
    title: str
    question: str
    run: Callable[[Lab], list[dict]]
    uses_finished: bool = False  # asks about an editor's use, so it takes the one that ships
    view: View = METRIC_VIEW
