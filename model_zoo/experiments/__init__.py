"""The paper's questions, rerun, and what goes beyond it: one experiment per function and one line in
EXPERIMENTS. Each returns rows; RESULTS.md is made of them.
"""

from types import MappingProxyType

from ..registry import find, registered
from .base import Experiment
from .baselines import BASELINES
from .geometry import DIRECTIONS
from .instructions import WORDINGS
from .lab import Lab
from .scope import SCOPE
from .stacks import STACKS
from .training import BALANCE, METHODS, NETWORK, QUESTIONS, TASK_COUNT

__all__ = ["EXPERIMENTS", "Experiment", "Lab", "get_experiment"]

EXPERIMENTS: MappingProxyType[str, Experiment] = registered(
    "experiment",
    (METHODS, BASELINES, NETWORK, TASK_COUNT, WORDINGS, BALANCE, QUESTIONS, DIRECTIONS, SCOPE, STACKS),
)


def get_experiment(name: str) -> Experiment:
    """The registered experiment; ValueError names the known ones."""
    return find("experiment", EXPERIMENTS, name)
