"""The contract of a change: what one edit does to a model, as an immutable value on the CPU that pickles.

There are few kinds: a weight change (delta.py), a rewrite of the prompt (rewrite.py), a memory beside the
weights (memory.py). What a kind cannot do it declares here, and whoever wants it anyway is told so in a
sentence.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ..active import Live
from ..backbone import Backbone


@dataclass(frozen=True)
class Effect:
    """What a change does in one place: a module and a few figures about it."""

    module: str
    rank: int
    norm: float  # Frobenius norm of delta W
    relative: float  # norm over the norm of W


class Change(ABC):
    """What one edit, or several of one method combined, does to the rows of a batch that see it."""

    kind: ClassVar[str]
    title: ClassVar[str]  # for sentences: "a weight change"
    has_weights: ClassVar[bool] = False  # whether it is a Delta, which exports and the Directions map need
    scales: ClassVar[bool] = True  # whether a strength between off and full means anything

    @abstractmethod
    def scaled(self, strength: float) -> Self:
        """The change at another strength above 0, where the kind scales; else the change itself."""

    def check_strength(self, strength: float) -> None:
        """ValueError unless it can be made at this strength: a finite number from 0 up, 0 or 1 where the kind
        does not scale.
        """
        if not 0 <= strength < math.inf:
            raise ValueError(
                f"The strength is {strength}; it must be a number from 0 (no change) up, 1 being the edit as "
                "made."
            )
        if not self.scales and strength not in (0, 1):
            raise ValueError(
                f"A strength of {strength:g} was asked for, but {self.title} is either on (1) or off (0); "
                "choose one of the two."
            )

    @classmethod
    @abstractmethod
    def live(cls, changes: Sequence[Self], row_to_change: Sequence[int], backbone: Backbone) -> Live:
        """Changes of this kind on the model's device; row i of the batch sees changes[row_to_change[i]], none
        where it is -1.
        """

    @property
    def numbers(self) -> int:
        """How many numbers it keeps; 0 where it keeps text."""
        return 0

    def effects(self, backbone: Backbone) -> tuple[Effect, ...]:
        """What it does to each edited matrix; empty where it changes none."""
        return ()

    @abstractmethod
    def in_words(self) -> str:
        """One clause for people: what it holds."""


class WholeChange(Change):
    """A change that is there or not."""

    scales = False

    def scaled(self, strength: float) -> Self:
        return self
