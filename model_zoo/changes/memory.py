"""A memory beside the weights: where a token's input is one that it knows, the module's output is another.

Codebooks (GRACE, arXiv 2211.11031) remember keys with radii and values, side matrices (side.py) copies of a
matrix; nothing in the weights changes. A book looks at each token's own input alone, so that a text is the
same with and without a cache of its past.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..backbone import Backbone
from .base import WholeChange


class Book(Protocol):
    """What a memory holds of one module: immutable, on the CPU at rest."""

    @property
    def numbers(self) -> int:
        """How many numbers it keeps."""
        ...

    def to(self, device: torch.device) -> Self:
        """Its copy for a model's device."""
        ...

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        """x [T, d_in] and the module's output y [T, d_out] -> its new output."""
        ...

    def in_words(self) -> str:
        """One clause for people: what it holds."""
        ...


@dataclass(frozen=True, eq=False)
class Codebook:
    """Of one module path: keys [n, d_in], radii [n], values [n, d_out].

    `adds`: values are added to the output, not put in its place.
    """

    keys: Tensor
    radii: Tensor
    values: Tensor
    adds: bool = False

    def __post_init__(self) -> None:
        if not len(self.keys) == len(self.radii) == len(self.values):
            found = f"{len(self.keys)} keys, {len(self.radii)} radii and {len(self.values)} values"
            raise ValueError(f"A codebook has {found}; every key needs a radius and a value.")
        for name in ("keys", "radii", "values"):
            object.__setattr__(self, name, getattr(self, name).detach().to("cpu", torch.float32).contiguous())

    def __reduce__(self):
        # bytes cross process borders without shared-memory handles
        tensors = save({"keys": self.keys, "radii": self.radii, "values": self.values})
        return _codebook, (tensors, self.adds)

    @property
    def numbers(self) -> int:
        return self.keys.numel() + self.radii.numel() + self.values.numel()

    def to(self, device: torch.device) -> "Codebook":
        moved = object.__new__(Codebook)  # __post_init__ keeps values on the CPU
        for name in ("keys", "radii", "values"):
            object.__setattr__(moved, name, getattr(self, name).to(device))
        object.__setattr__(moved, "adds", self.adds)
        return moved

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        """x [T, d_in] and the module's output y [T, d_out] -> its new output: the nearest key within its
        radius decides.
        """
        if not len(self.keys):
            return y
        distance = torch.cdist(x.float(), self.keys)  # (T, n)
        nearest, index = distance.masked_fill(distance > self.radii, math.inf).min(dim=1)
        value = self.values[index].to(y.dtype)
        return torch.where(nearest.isfinite()[:, None], y + value if self.adds else value, y)

    def in_words(self) -> str:
        n = len(self.keys)
        return f"remembers {n} {'key' if n == 1 else 'keys'} and what the model is to put out there"


def _codebook(tensors: bytes, adds: bool) -> Codebook:
    return Codebook(**load(tensors), adds=adds)


@dataclass(frozen=True, eq=False)
class Memory(WholeChange):
    """Books by module path."""

    books: Mapping[str, Book]

    kind: ClassVar[str] = "memory"
    title: ClassVar[str] = "a memory beside the weights"

    @property
    def numbers(self) -> int:
        return sum(book.numbers for book in self.books.values())

    @classmethod
    def live(
        cls, changes: Sequence["Memory"], row_to_change: Sequence[int], backbone: Backbone
    ) -> "LiveMemory":
        moved = tuple(
            {path: book.to(backbone.weight_device(path)) for path, book in change.books.items()}
            for change in changes
        )
        return LiveMemory(moved, tuple(row_to_change))

    def in_words(self) -> str:
        return " and ".join(book.in_words() for book in self.books.values())


@dataclass(frozen=True)
class LiveMemory:
    """Memories for the rows of a batch."""

    changes: tuple[Mapping[str, Book], ...]
    row_to_change: tuple[int, ...]

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        """x [rows, T, d_in] and y [rows, T, d_out] -> the new output; None where no row has a memory at this
        path.
        """
        books = [self.changes[i].get(path) if i >= 0 else None for i in self.row_to_change]
        if not any(books):
            return None
        rows = [y[i] if book is None else book.output(x[i], y[i]) for i, book in enumerate(books)]
        return torch.stack(rows)
