"""What the hypernetwork reads of an instruction, beside the prefix's effect on the gradient: one vector per edit.

The prefix reaches the gradient only as far as the base model attends to it, and a base model that was never trained to obey
hardly does. Here learned queries attend over the prefix's tokens directly.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Instructions:
    """Prefix tokens of E edits: x [E, n, width] (embedding and input of the first edited matrix), real [E, n] bool."""

    x: Tensor
    real: Tensor


class InstructionReader(nn.Module):
    """Attention pooling over the prefix's tokens: `heads` learned queries, then one linear map. [E, n, width] -> [E, size]."""

    def __init__(self, width: int, size: int, heads: int = 4):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, size)
        self.query = nn.Parameter(torch.randn(width, heads) / math.sqrt(width))
        self.out = nn.Linear(size * heads, size)

    def forward(self, instructions: Instructions) -> Tensor:
        """Zero for an edit without an instruction, so that it is edited as if nothing were there to read."""
        x = self.norm(instructions.x)
        scores = (x @ self.query).masked_fill(~instructions.real[..., None], -torch.inf)
        some = instructions.real.any(1)
        weights = torch.where(some[:, None, None], scores, torch.zeros_like(scores)).softmax(1)
        pooled = (weights.transpose(1, 2) @ self.value(x)).flatten(1)
        return torch.tanh(self.out(pooled)) * some[:, None]
