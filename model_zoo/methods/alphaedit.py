"""AlphaEdit: MEMIT's change, projected to where the base model's other keys have nothing (Fang et al. 2025,
arXiv 2410.02355).

    dW = Z^T A,   A = K P (K^T K P + K_p^T K_p P + w I)^-1
with P the projector onto the directions in which C is next to nothing, K_p keys of earlier edits.
"""

import torch
from pydantic import Field
from torch import Tensor

from .locating import Locating
from .memit import MEMITHyperparameters


class AlphaEditHyperparameters(MEMITHyperparameters):
    """As in the paper, but for what counts as next to nothing."""

    weight: float = Field(
        0.1, gt=0, le=1000, title="Weight", description="of the change's own length; the paper takes 1 to 10"
    )
    nothing: float = Field(
        0.3,
        ge=0.001,
        le=0.99,
        title="Null space",
        description="directions below this share of C's mean eigenvalue; the paper takes 0.02, not relative",
    )


class AlphaEdit(Locating):
    """Null-space projection, on MEMIT's blocks."""

    name = "alphaedit"
    pretty_name = "AlphaEdit"
    reference_url = "https://arxiv.org/abs/2410.02355"
    Hyperparameters = AlphaEditHyperparameters
    layers = 5

    def projector(self, covariance: Tensor) -> Tensor:
        """P [d_in, d_in], onto the null space of C [d_in, d_in]."""
        values, vectors = torch.linalg.eigh(covariance)
        null = vectors[:, values < self.config.nothing * values.mean()]
        return null @ null.T

    def readers(self, path: str, keys: Tensor, kept: Tensor | None = None) -> Tensor:
        own = self.derived(path, self.projector)
        seen = keys if kept is None else torch.cat([keys, kept])
        ridge = self.config.weight * torch.eye(keys.shape[1], dtype=keys.dtype)
        return torch.linalg.solve(seen.T @ seen @ own + ridge, keys @ own, left=False)
