"""Patch: what a stack of edits comes to. Generation, scoring, checks, evaluation and export take a Patch and
nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..active import Live
from ..backbone import Backbone
from .base import Change, Effect
from .delta import Delta, concatenate


@dataclass(frozen=True, eq=False)
class Patch:
    """Changes that a row of a batch sees together, at most one of them a Delta."""

    changes: tuple[Change, ...]

    @staticmethod
    def of(changes: Sequence[Change]) -> "Patch | None":
        """Changes of several methods side by side: weight changes add up, the others follow one another. None
        for none.
        """
        deltas = [change for change in changes if isinstance(change, Delta)]
        others = tuple(change for change in changes if not isinstance(change, Delta))
        if not changes:
            return None
        weights = () if not deltas else (deltas[0] if len(deltas) == 1 else concatenate(deltas),)
        return Patch((*weights, *others))

    @property
    def delta(self) -> Delta | None:
        """Its weight change, if it has one."""
        return next((change for change in self.changes if isinstance(change, Delta)), None)

    @property
    def beside_weights(self) -> tuple[Change, ...]:
        """What of it is no weight change."""
        return tuple(change for change in self.changes if not isinstance(change, Delta))

    def effects(self, backbone: Backbone) -> tuple[Effect, ...]:
        return tuple(effect for change in self.changes for effect in change.effects(backbone))


def patch_of(change: Change | None) -> Patch | None:
    """A patch of one change; None for none."""
    return None if change is None else Patch((change,))


Patches = Sequence[Patch | None]  # one per row of a batch; None is the base model


@dataclass(frozen=True)
class _Several:
    """Live changes of several kinds: each sees what the one before it left."""

    parts: tuple[Live, ...]

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        for part in self.parts:
            prompts = part.prompts(prompts)
        return list(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        changed = None
        for part in self.parts:
            found = part.output(path, x, y if changed is None else changed)
            changed = changed if found is None else found
        return changed


def _order(slot: tuple) -> tuple[bool, int]:
    """Weights first and then the others, each kind in its order, whatever the rows of a batch are."""
    (kind, n), _ = slot
    return not issubclass(kind, Delta), n


def live(patches: Patches | None, backbone: Backbone) -> Live | None:
    """The live form of one patch per row; None when no row sees one."""
    used = list({id(patch): patch for patch in patches or () if patch is not None}.values())
    if not used:
        return None
    position = {id(patch): i for i, patch in enumerate(used)}
    rows = [position.get(id(patch), -1) for patch in patches or ()]
    # the n-th change of a kind in every patch shares one live part
    slots: dict[tuple[type[Change], int], dict[int, Change]] = {}
    for i, patch in enumerate(used):
        seen: dict[type[Change], int] = {}
        for change in patch.changes:
            n = seen[type(change)] = seen.get(type(change), -1) + 1
            slots.setdefault((type(change), n), {})[i] = change
    parts = []
    for (kind, _), held in sorted(slots.items(), key=_order):
        index = {i: n for n, i in enumerate(held)}
        parts.append(kind.live(list(held.values()), [index.get(row, -1) for row in rows], backbone))
    return parts[0] if len(parts) == 1 else _Several(tuple(parts))
