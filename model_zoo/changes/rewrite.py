"""A rewrite of the prompt: stored edits, a retriever that picks those a prompt is about, and words put before
it.

In-context and retrieval methods (IKE, arXiv 2305.12740; retrieval of MeLLo, arXiv 2305.14795) change no
weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..backbone import Backbone
from .base import WholeChange

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
    """Text before the prompts that are in scope. `template` has {prompt} and {target} of a stored edit."""

    stored: tuple[StoredEdit, ...]
    retriever: Retriever
    template: str = "{prompt} {target}.\n"

    kind: ClassVar[str] = "rewrite"
    title: ClassVar[str] = "a rewrite of the prompt"

    def rewritten(self, prompt: str, backbone: Backbone) -> str:
        """The prompt behind the stored edits that it is about; the prompt itself where it is about none, or
        where the model has no room for them and an answer.
        """
        found = self.retriever(prompt, self.stored, backbone)
        text = "".join(self.template.format(prompt=s.prompt, target=s.target) for s in found) + prompt
        return text if len(backbone.ids(text)) <= backbone.max_length - ROOM else prompt

    def joined(self, others: Sequence["Rewrite"]) -> "Rewrite":
        """One rewrite that remembers the edits of all, in this order."""
        stored = (*self.stored, *(edit for other in others for edit in other.stored))
        return Rewrite(stored, self.retriever, self.template)

    @classmethod
    def live(
        cls, changes: Sequence["Rewrite"], row_to_change: Sequence[int], backbone: Backbone
    ) -> "LiveRewrite":
        return LiveRewrite(tuple(changes), tuple(row_to_change), backbone)

    def in_words(self) -> str:
        n = len(self.stored)
        stored = "a remembered edit" if n == 1 else f"one or more of {n} remembered edits"
        return f"puts {stored} before prompts about it"


@dataclass(frozen=True)
class LiveRewrite:
    """Rewrites for the rows of a batch."""

    changes: tuple[Rewrite, ...]
    row_to_change: tuple[int, ...]
    backbone: Backbone

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return [
            self.changes[i].rewritten(prompt, self.backbone) if i >= 0 else prompt
            for prompt, i in zip(prompts, self.row_to_change, strict=True)
        ]

    def output(self, path: str, x, y):
        return None
