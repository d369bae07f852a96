"""ROME: a rank-one change that stores a new value at the subject's key (Meng et al. 2022, arXiv 2202.05262).

    dW = z a^T,   a = C^-1 k / (k^T C^-1 k)        (equation 2 there)
so that (W + dW) k = W k + z exactly, and other keys, in the mean over C, are disturbed least.
"""

from collections.abc import Sequence

from torch import Tensor

from ..changes import Delta
from .base import summed
from .locating import Locating, inverse


class ROME(Locating):
    """Every edit by itself; several add up, as the paper makes them one after another."""

    name = "rome"
    pretty_name = "ROME"
    reference_url = "https://arxiv.org/abs/2202.05262"

    def readers(self, path: str, keys: Tensor, kept: Tensor | None = None) -> Tensor:
        read = keys @ self.derived(path, inverse)
        return read / (read * keys).sum(1, keepdim=True)

    def combine(self, changes: Sequence[Delta]) -> Delta:
        return summed(changes)
