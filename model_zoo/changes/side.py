"""Side matrices: copies of one matrix beside it, used where they are active enough (WISE, arXiv 2405.14768).

A copy W' is kept as D = W' - W. At a token with input x its activation is |D x|; where that passes the
copy's threshold the output is W' x in place of W x.
"""

from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SideMatrices:
    """Of one module path: D [n, d_out, d_in], what n copies of its matrix differ by, and thresholds [n] above
    0. Of the copies that are active enough, the one furthest above its threshold is used.
    """

    D: Tensor
    thresholds: Tensor

    def __post_init__(self) -> None:
        if self.D.ndim != 3 or self.thresholds.shape != self.D.shape[:1]:
            found = f"D {list(self.D.shape)} and thresholds {list(self.thresholds.shape)}"
            raise ValueError(f"Side matrices need D [n, d_out, d_in] and thresholds [n]; these are {found}.")
        for name in ("D", "thresholds"):
            object.__setattr__(self, name, getattr(self, name).detach().to("cpu", torch.float32).contiguous())

    def __reduce__(self):
        # bytes cross process borders without shared-memory handles
        return _side_matrices, (save({"D": self.D, "thresholds": self.thresholds}),)

    @property
    def numbers(self) -> int:
        """Those that are not zero: most of D is, where a mask left it."""
        return int(self.D.count_nonzero()) + len(self.thresholds)

    def to(self, device: torch.device) -> "SideMatrices":
        moved = object.__new__(SideMatrices)  # __post_init__ keeps tensors on the CPU
        for name in ("D", "thresholds"):
            object.__setattr__(moved, name, getattr(self, name).to(device))
        return moved

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        """x [T, d_in] and the module's output y [T, d_out] -> its new output, token by token; y itself, bit
        for bit, where no copy is active enough.
        """
        wide = x.float()
        most, added = wide.new_ones(len(x)), torch.zeros_like(y, dtype=torch.float32)
        for d, threshold in zip(self.D, self.thresholds, strict=True):  # all at once would not fit
            change = wide @ d.T
            active = change.norm(dim=1) / threshold
            better = active > most
            most, added = torch.where(better, active, most), torch.where(better[:, None], change, added)
        return torch.where((most > 1)[:, None], y + added.to(y.dtype), y)

    def in_words(self) -> str:
        n = len(self.thresholds)
        return f"keeps {n} {'copy' if n == 1 else 'copies'} of a matrix, used where what it reads asks for it"


def _side_matrices(tensors: bytes) -> SideMatrices:
    return SideMatrices(**load(tensors))
