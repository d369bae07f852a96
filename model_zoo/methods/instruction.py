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


def silent(size: int, width: int) -> nn.Linear:
    """A linear map that starts at zero: an untrained editor reads nothing."""
    layer = nn.Linear(size, width, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


class InstructionReader(nn.Module):
    """Which learned features any of the prefix's tokens has: a linear map, the maximum over tokens, another map. [E, n, width] -> [E, size].

    With a `span`, the same of every `span` tokens in a row (Kim 2014, arXiv 1408.5882): "keep nothing but" and "nothing but keep" have
    the same words. What the spans say starts at zero. In training some tokens are hidden, so that no single word comes to stand for a
    wording."""

    def __init__(self, width: int, size: int, span: int = 1):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.features = nn.Linear(width, FEATURES * size)
        self.out = nn.Linear(FEATURES * size, size)
        self.span = span
        if span > 1:
            self.spans = nn.Linear(span * width, FEATURES * size)
            self.out_spans = silent(FEATURES * size, size)

    def forward(self, instructions: Instructions) -> Tensor:
        """Zero for an edit without an instruction, so that it is edited as if nothing were there to read."""
        real = instructions.real
        if self.training:
            real = real & (torch.rand(real.shape, device=real.device) >= HIDDEN_SHARE)
        x = self.norm(instructions.x)
        said = self.out((torch.relu(self.features(x)) * real[..., None]).amax(1))
        if self.span > 1:
            before = (self.span - 1) // 2
            padded = torch.nn.functional.pad(x * real[..., None], (0, 0, before, self.span - 1 - before))
            rows = padded.unfold(1, self.span, 1).flatten(2)  # of each token: what is around it
            said = said + self.out_spans((torch.relu(self.spans(rows)) * instructions.real[..., None]).amax(1))
        return torch.tanh(said) * instructions.real.any(1)[:, None]
