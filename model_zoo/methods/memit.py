"""MEMIT: many edits spread over several blocks (Meng et al. 2023, arXiv 2210.07229).

    dW = Z^T A,   A = K (w C + K^T K)^-1           (equation 14 there)
a least-squares compromise between the edits' keys and all others, w times as many of these.
"""

import torch
from pydantic import Field
from torch import Tensor

from .locating import Locating, LocatingHyperparameters


class MEMITHyperparameters(LocatingHyperparameters):
    """As in the paper, but for the weight, which grows with the width of a key."""

    most: float = Field(
        2.0,
        gt=0,
        le=100,
        title="Longest",
        description="a value's change in lengths of the hidden state; the paper allows 0.75, measured here",
    )
    weight: float = Field(
        0.1,
        gt=0,
        le=1000,
        title="Weight",
        description="of all other keys, in widths of a key; the paper takes 15,000 for GPT-J's 16,384; "
        "measured here",
    )


class MEMIT(Locating):
    """Five blocks, each solved jointly for all edits."""

    name = "memit"
    pretty_name = "MEMIT"
    reference_url = "https://arxiv.org/abs/2210.07229"
    Hyperparameters = MEMITHyperparameters
    layers = 5

    def readers(self, path: str, keys: Tensor, kept: Tensor | None = None) -> Tensor:
        weight = self.config.weight * keys.shape[1]
        return torch.linalg.solve(weight * self.covariance[path] + keys.T @ keys, keys, left=False)
