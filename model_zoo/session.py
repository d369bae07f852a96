"""EditSession: one person's edits. An immutable value; every action returns a new session that can be undone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from .delta import Delta
from .methods import EditMethod, combine
from .tasks.request import EditRequest


@dataclass(frozen=True)
class Edit:
    """A proposed Delta, its strength, and whether it is switched on."""

    delta: Delta
    strength: float = 1.0
    on: bool = True

    @property
    def request(self) -> EditRequest:
        return EditRequest(**{field: self.delta.request[field] for field in ("prompt", "target", "task", "instruction")})

    @property
    def label(self) -> str:
        return f"{self.request.prompt} → {self.request.target}"


Edits = tuple[Edit, ...]


def checked_strength(strength: float) -> float:
    """The strength itself; ValueError unless it is a finite number from 0 up."""
    if not 0 <= strength < math.inf:
        raise ValueError(f"The strength is {strength}; it must be a number from 0 (no change) up, 1 being the edit as made.")
    return strength


@dataclass(frozen=True)
class EditSession:
    """The stack of edits with its history. Holds CPU data only and pickles, so it can cross process borders."""

    edits: Edits = ()
    past: tuple[Edits, ...] = ()
    future: tuple[Edits, ...] = ()

    @property
    def active(self) -> Edits:
        """The edits that are on."""
        return tuple(edit for edit in self.edits if edit.on)

    def _then(self, edits: Edits) -> "EditSession":
        return EditSession(edits, (*self.past, self.edits), ())

    def add(self, delta: Delta, strength: float = 1.0) -> "EditSession":
        """One more edit; it replaces an earlier one of the same prompt, since both cannot hold."""
        edit = Edit(delta, checked_strength(strength))
        others = tuple(e for e in self.edits if e.request.prompt.casefold() != edit.request.prompt.casefold())
        return self._then((*others, edit))

    def set_on(self, on: set[int]) -> "EditSession":
        """Switch on exactly the edits with these positions."""
        edits = tuple(replace(edit, on=i in on) for i, edit in enumerate(self.edits))
        return self if [e.on for e in edits] == [e.on for e in self.edits] else self._then(edits)

    def toggle(self, index: int) -> "EditSession":
        return self.set_on({i for i, edit in enumerate(self.edits) if edit.on != (i == index)})

    def set_strength(self, index: int, strength: float) -> "EditSession":
        checked_strength(strength)
        return self._then(tuple(replace(e, strength=strength) if i == index else e for i, e in enumerate(self.edits)))

    def clear(self) -> "EditSession":
        return self._then(()) if self.edits else self

    def undo(self) -> "EditSession":
        """One action back; the session itself when there is none."""
        if not self.past:
            return self
        return EditSession(self.past[-1], self.past[:-1], (self.edits, *self.future))

    def redo(self) -> "EditSession":
        if not self.future:
            return self
        return EditSession(self.future[0], (*self.past, self.edits), self.future[1:])

    def patch(self, methods: Callable[[str], EditMethod]) -> Delta | None:
        """The Delta of all edits that are on, combined by their methods; None when none is.

        An edit of strength 0 is left out: it would still ask the joint solve for "no change" on the words it shares with others.
        """
        return combine([edit.delta.scaled(edit.strength) for edit in self.active if edit.strength], methods)
