"""Further neurons beside an MLP's own: what they read of its input decides how much each adds to its output.

Calibration neurons (CaliNet, Dong et al. 2022, arXiv 2210.03329): y' = y + GELU(x K^T) V.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import gelu

from ..backbone import Backbone
from .base import Change


@dataclass(frozen=True, eq=False)
class Neurons(Change):
    """m neurons: `keys` K [m, d] read what enters the linear `reads`, `values` V [m, d_out] go to the output
    of the linear `writes`, further up in the same MLP.
    """

    reads: str
    writes: str
    keys: Tensor
    values: Tensor

    kind: ClassVar[str] = "neurons"
    title: ClassVar[str] = "further neurons beside the weights"

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.values):
            raise ValueError(
                f"{len(self.keys)} neurons read and {len(self.values)} write; they must be the same ones."
            )
        for name in ("keys", "values"):
            object.__setattr__(self, name, getattr(self, name).detach().to("cpu", torch.float32).contiguous())

    def __reduce__(self):
        # bytes cross process borders without shared-memory handles
        return _neurons, (self.reads, self.writes, save({"keys": self.keys, "values": self.values}))

    def scaled(self, strength: float) -> "Neurons":
        return Neurons(self.reads, self.writes, self.keys, self.values * strength)

    @property
    def numbers(self) -> int:
        return self.keys.numel() + self.values.numel()

    @classmethod
    def live(
        cls, changes: Sequence["Neurons"], row_to_change: Sequence[int], backbone: Backbone
    ) -> "LiveNeurons":
        most = max(len(change.keys) for change in changes)

        def padded(name: str) -> Tensor:
            parts = [getattr(change, name) for change in changes]
            found = torch.zeros(len(parts), most, parts[0].shape[1])
            for i, part in enumerate(parts):
                found[i, : len(part)] = part
            return found.to(backbone.device)

        rows = torch.tensor(list(row_to_change))
        return LiveNeurons(changes[0].reads, changes[0].writes, padded("keys"), padded("values"), rows)

    def in_words(self) -> str:
        return f"adds {len(self.keys)} neurons beside the model's own"


def _neurons(reads: str, writes: str, tensors: bytes) -> Neurons:
    return Neurons(reads, writes, **load(tensors))


@dataclass
class LiveNeurons:
    """Neurons for the rows of a batch: K [E, m, d], V [E, m, d_out]; a row of -1 sees none. They may need
    grad.
    """

    reads: str
    writes: str
    keys: Tensor
    values: Tensor
    row_to_change: Tensor
    seen: Tensor | None = field(default=None, repr=False)

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        """What enters `reads` is kept until `writes` of the same forward pass puts out y [rows, T, d_out]."""
        if path == self.reads:
            self.seen = x
        if path != self.writes or self.seen is None:
            return None
        rows = self.row_to_change.to(y.device)
        pick, on = rows.clamp(min=0), (rows >= 0)[:, None, None]
        read = gelu(self.seen.float() @ self.keys.index_select(0, pick).transpose(1, 2))
        return y + (read @ self.values.index_select(0, pick) * on).to(y.dtype)
