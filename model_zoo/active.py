"""What a forward pass sees beside its rows: the active edit, a tape that records, what a trunk keeps.

One context variable reaches the hooks of every backbone; leaving the block leaves nothing behind. Never yield
inside `activated()`.
"""

import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from .joining import Joined


class Live(Protocol):
    """A change in its live form: what the rows of one batch see of it. On the model's device; it may need
    grad.
    """

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        """What is put to the model for each row's prompt."""
        ...

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        """The new output of a linear for its input x [rows, T, d_in] and its own output y [rows, T, d_out];
        None where nothing changes.
        """
        ...


@dataclass
class Tape:
    """What a capture pass records per module: inputs x [rows, T, d_in], and zero probes added to the outputs.

    The gradient of a probe is dL/d(output) [rows, T, d_out].
    """

    paths: tuple[str, ...]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    probes: dict[str, Tensor] = field(default_factory=dict)

    def record(self, path: str, x: Tensor, output: Tensor) -> Tensor:
        self.inputs[path] = x.detach()
        self.probes[path] = torch.zeros_like(output, dtype=torch.float32).requires_grad_()
        return output + self.probes[path].to(output.dtype)


class Trunk(Protocol):
    """What the base model's lower blocks make of rows, kept: nothing below block `first` is ever edited."""

    first: int

    def kept(self, rows: Sequence[Joined]) -> tuple[Tensor, Tensor]:
        """States [rows, T, d] that enter block `first`, and the base model's final ones [rows, T, d]."""
        ...


@dataclass(frozen=True)
class Active:
    """What one backbone's forward passes see.

    The blocks below `first` are passed over, and `entering` enters that one in place of what they left.
    `visit` is called with each block's number and what enters it, and returns what enters in its place. What
    enters the head goes into `taken` and no further; or `read` enters it in its place.
    """

    backbone: Any  # whose forward passes see it
    live: Live | None = None
    tape: Tape | None = None
    first: int = 0
    entering: Tensor | None = None
    visit: Callable[[int, Tensor], Tensor] | None = None
    taken: list[Tensor] | None = None
    read: Tensor | None = None


ACTIVE: contextvars.ContextVar[Active | None] = contextvars.ContextVar("active_edit", default=None)
# of the states that entered the block: some blocks flatten rows and tokens before their MLP
SHAPE: contextvars.ContextVar[torch.Size] = contextvars.ContextVar("rows_and_tokens")
TRUNK: contextvars.ContextVar[tuple[Any, Trunk] | None] = contextvars.ContextVar("trunk", default=None)


@contextmanager
def activated(active: Active) -> Iterator[None]:
    """Within this block, and this thread, forward passes see it."""
    token = ACTIVE.set(active)
    try:
        yield
    finally:
        ACTIVE.reset(token)
