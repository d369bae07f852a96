"""What the hypernetwork reads of an instruction, beside the prefix's effect on the gradient: one vector per edit.

The prefix reaches the gradient only as far as the base model attends to it, and a base model that was never trained to obey
hardly does. Here the prefix's tokens are read directly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

FEATURES = 4  # learned features per number read
HIDDEN_SHARE = 0.3  # of the tokens, in training


@dataclass(frozen=True)
class Instructions:
    """Prefix tokens of E edits: x [E, n, width] (their embeddings), real [E, n] bool."""

    x: Tensor
    real: Tensor


class InstructionReader(nn.Module):
    """Which learned features any of the prefix's tokens has: a linear map, the maximum over tokens, another map. [E, n, width] -> [E, size].

    In training some tokens are hidden, so that no single word comes to stand for a wording. The order of the words is not read here: it
    reaches an edit through the prefix alone."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.features = nn.Linear(width, FEATURES * size)
        self.out = nn.Linear(FEATURES * size, size)

    def forward(self, instructions: Instructions) -> Tensor:
        """Zero for an edit without an instruction, so that it is edited as if nothing were there to read."""
        real = instructions.real
        if self.training:
            real = real & (torch.rand(real.shape, device=real.device) >= HIDDEN_SHARE)
        found = torch.relu(self.features(self.norm(instructions.x))) * real[..., None]
        return torch.tanh(self.out(found.amax(1))) * instructions.real.any(1)[:, None]
