"""EMMET: ROME's equality for many edits at once (Gupta et al. 2024, arXiv 2403.14236).

    dW = Z^T A,   A = (K C^-1 K^T)^-1 K C^-1
so that every key maps to its own value exactly, as long as keys do not contradict each other.
"""

import torch
from torch import Tensor

from .locating import Locating, inverse


class EMMET(Locating):
    """Equality constraints, solved jointly."""

    name = "emmet"
    pretty_name = "EMMET"
    reference_url = "https://arxiv.org/abs/2403.14236"

    def readers(self, path: str, keys: Tensor, kept: Tensor | None = None) -> Tensor:
        read = keys @ self.derived(path, inverse)
        gram = read @ keys.T
        tiny = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        return torch.linalg.solve(gram + tiny, read)
