"""A rewrite of the prompt: stored edits, a retriever that picks those a prompt is about, and words put before
it.

In-context and retrieval methods (IKE, arXiv 2305.12740; retrieval of MeLLo, arXiv 2305.14795) change no
weight. Where the model was taught to read edits (LTE, arXiv 2402.11905; SERAC, arXiv 2206.06520) what it
learned is an adapter, which only the rows see that have an edit before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from torch import Tensor

from ..backbone import Backbone
from .base import WholeChange
from .delta import Delta, Factors

ROOM = 40  # tokens left for an answer


@dataclass(frozen=True)
class StoredEdit:
    """One remembered edit."""

    prompt: str
    target: str
    subject: str | None = None


class Retriever(Protocol):
    """Picks the stored edits that a prompt is about. A picklable value; it may ask the base model."""

    def __call__(self, prompt: str, stored: Sequence[StoredEdit], backbone: Backbone) -> Sequence[StoredEdit]:
        """The stored edits in scope, most telling first; none for a prompt that no edit is about."""
        ...


@dataclass(frozen=True)
class Rewrite(WholeChange):
    """Text before the prompts that are in scope. `template` has {prompt} and {target} of a stored edit,
    `frame` the {edits} so written and the {prompt}. `adapter`, one for all edits of a method, is added to the
    weights for the rows that are rewritten; with `everywhere` for all that see this change.
    """

    stored: tuple[StoredEdit, ...]
    retriever: Retriever
    template: str = "{prompt} {target}.\n"
    frame: str = "{edits}{prompt}"
    adapter: Delta | None = None
    everywhere: bool = False

    kind: ClassVar[str] = "rewrite"
    title: ClassVar[str] = "a rewrite of the prompt"

    def rewritten(self, prompt: str, backbone: Backbone) -> str:
        """The prompt behind the stored edits that it is about; the prompt itself where it is about none."""
        return self.in_scope(prompt, backbone) or prompt

    def in_scope(self, prompt: str, backbone: Backbone) -> str | None:
        """The prompt behind the stored edits that it is about, inside a chat its question; None where it is
        about none, or where the model has no room for the first of them and an answer.
        """
        if not 0 < len(backbone.ids(prompt)) <= backbone.max_length - ROOM:
            return None  # whoever generates says what is wrong with it
        found = self.retriever(backbone.bare(prompt), self.stored, backbone)
        fitting = self.fitting(found, prompt, backbone)
        return self.text(fitting, prompt) if fitting else None

    def text(self, edits: Sequence[StoredEdit], prompt: str) -> str:
        """The prompt behind edits."""
        told = "".join(self.template.format(prompt=edit.prompt, target=edit.target) for edit in edits)
        return self.frame.format(edits=told, prompt=prompt)

    def fitting(self, edits: Sequence[StoredEdit], prompt: str, backbone: Backbone) -> Sequence[StoredEdit]:
        """As many of the first edits as the model has room for before the prompt, and an answer behind it."""
        for n in range(len(edits), 0, -1):
            if len(backbone.ids(self.text(edits[:n], prompt))) <= backbone.max_length - ROOM:
                return edits[:n]
        return ()

    def joined(self, others: Sequence["Rewrite"]) -> "Rewrite":
        """One rewrite that remembers the edits of all, in this order."""
        return replace(self, stored=(*self.stored, *(edit for other in others for edit in other.stored)))

    @classmethod
    def live(
        cls, changes: Sequence["Rewrite"], row_to_change: Sequence[int], backbone: Backbone
    ) -> "LiveRewrite":
        return LiveRewrite(tuple(changes), tuple(row_to_change), backbone)

    def in_words(self) -> str:
        n = len(self.stored)
        stored = "a remembered edit" if n == 1 else f"one or more of {n} remembered edits"
        read = ", which an adapter reads" if self.adapter else ""
        return f"puts {stored} before prompts about it{read}"


class LiveRewrite:
    """Rewrites for the rows of a batch. Which rows see their adapters is known once their prompts are."""

    def __init__(self, changes: tuple[Rewrite, ...], row_to_change: tuple[int, ...], backbone: Backbone):
        self.changes, self.row_to_change, self.backbone = changes, row_to_change, backbone
        self.adapters = self._adapters([False] * len(row_to_change))

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        put = [
            self.changes[i].in_scope(prompt, self.backbone) if i >= 0 else None
            for prompt, i in zip(prompts, self.row_to_change, strict=True)
        ]
        self.adapters = self._adapters([text is not None for text in put])
        return [prompt if text is None else text for prompt, text in zip(prompts, put, strict=True)]

    def _adapters(self, in_scope: Sequence[bool]) -> Factors | None:
        """The adapters of those rows that see theirs; None where no row does."""
        used: list[Delta] = []
        rows: list[int] = []
        for i, own in zip(self.row_to_change, in_scope, strict=True):
            change = self.changes[i] if i >= 0 else None
            if change is None or change.adapter is None or not (own or change.everywhere):
                rows.append(-1)
                continue
            if not any(adapter is change.adapter for adapter in used):
                used.append(change.adapter)
            rows.append(next(n for n, adapter in enumerate(used) if adapter is change.adapter))
        return Factors.of(used, rows, self.backbone.device) if used else None

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        return None if self.adapters is None else self.adapters.output(path, x, y)
