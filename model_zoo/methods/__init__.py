"""Editing methods: each proposes Deltas on the base model and says how its edits live together.

One method per file and one line in METHODS. What a method can do is declared here, never inferred from its name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from ..backbone import Backbone
from ..delta import Delta, concatenate
from ..registry import find, registered
from ..tasks.request import EditRequest

__all__ = ["EditMethod", "MethodInfo", "METHODS", "combine", "load_method"]


@dataclass(frozen=True)
class MethodInfo:
    """What the page and the command line need to know before a method is loaded."""

    name: str
    pretty_name: str
    reference_url: str
    needs_editor: bool  # a trained editor for this base model
    supports_instruction: bool
    low_rank: bool  # returns factors, not dense changes
    load: Callable[[Backbone, Path | None], "EditMethod"]


class EditMethod(Protocol):
    """A loaded method, bound to one backbone."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A short digest of everything that decides its edits beside the base model."""
        ...

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        """One Delta per request, each as if it were the only edit. The base model is not changed."""
        ...

    def combine(self, deltas: Sequence[Delta]) -> Delta:
        """One Delta under which all the given edits live together, whatever their order."""
        ...


def _registry() -> MappingProxyType[str, MethodInfo]:
    from . import ft_l, instructedit, mend

    return registered("method", (instructedit.INFO, mend.INFO, ft_l.INFO))


def load_method(name: str, backbone: Backbone, editor: Path | None = None) -> EditMethod:
    """Load a registered method for a backbone; ValueError says which names exist or that an editor is missing."""
    info = find("method", METHODS, name)
    if info.needs_editor and editor is None:
        free = ", ".join(m.name for m in METHODS.values() if not m.needs_editor)
        raise ValueError(
            f"{info.pretty_name} needs an editor trained for {backbone.name}, and none is at hand. "
            f"Train one with 'python -m model_zoo train', or use a method that needs none: {free}."
        )
    return info.load(backbone, editor)


def combine(deltas: Sequence[Delta], methods: Callable[[str], EditMethod]) -> Delta | None:
    """The patch for a stack of edits: each method combines its own, the results add up. None when there are none."""
    groups: dict[str, list[Delta]] = {}
    for delta in deltas:
        groups.setdefault(delta.request["method"], []).append(delta)
    parts = [methods(name).combine(group) for name, group in groups.items()]
    return None if not parts else parts[0] if len(parts) == 1 else concatenate(parts)


METHODS = _registry()
