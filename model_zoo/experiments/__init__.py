"""The paper's questions, rerun, and what goes beyond it: one experiment per function and one line in EXPERIMENTS. Each returns rows;
RESULTS.md is made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from ..registry import find, registered
from .lab import Lab
from .render import METRIC_VIEW, View

__all__ = ["EXPERIMENTS", "Experiment", "Lab", "get_experiment"]


@dataclass(frozen=True)
class Experiment:
    """`question` is what it asks; `run(lab)` answers with rows, which `view` shows."""

    name: str
    title: str
    question: str
    run: Callable[[Lab], list[dict]]
    uses_finished: bool = False  # asks about an editor's use, so it takes the one that ships
    view: View = METRIC_VIEW


def _registry() -> MappingProxyType[str, Experiment]:
    from . import geometry, instructions, scope, stacks, training

    found = (
        training.METHODS, training.NETWORK, training.TASK_COUNT, instructions.WORDINGS, training.BALANCE, training.QUESTIONS, geometry.DIRECTIONS,
        scope.SCOPE, stacks.STACKS,
    )  # fmt: skip
    return registered("experiment", found)


def get_experiment(name: str) -> Experiment:
    """The registered experiment; ValueError names the known ones."""
    return find("experiment", EXPERIMENTS, name)


EXPERIMENTS = _registry()
