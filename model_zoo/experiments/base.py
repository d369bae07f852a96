"""The contract of an experiment: a question, and what answers it with rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .lab import Lab
from .render import METRIC_VIEW, View


@dataclass(frozen=True)
class Experiment:
    """`question` is what it asks; `run(lab)` answers with rows, which `view` shows and of which `finding`
    makes the answer in a sentence.
    """

    name: str
    title: str
    question: str
    run: Callable[[Lab], list[dict]]
    finding: Callable[[Sequence[dict]], str]
    uses_finished: bool = False  # asks about an editor's use, so it takes the one that ships
    view: View = METRIC_VIEW
