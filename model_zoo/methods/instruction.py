"""What the network reads of an instruction, beside the prefix's effect on the gradient: one vector per edit.

The prefix reaches the gradient only as far as the base model attends to it, and a base model that was never
trained to obey hardly does. Here the prefix's tokens are read directly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .heads import zero_linear

FEATURES = 4  # learned features per number read
HIDDEN_SHARE = 0.3  # of the tokens, in training


@dataclass(frozen=True)
class Instructions:
    """Prefix tokens of E edits: x [E, n, width] (their embeddings), real [E, n] bool."""

    x: Tensor
    real: Tensor


class InstructionReader(nn.Module):
    """Which learned features any of the prefix's tokens has: [E, n, width] -> [E, size].

    That is a linear map, the maximum over the tokens, and another linear map. With a `span`, the same is done
    with every `span` tokens in a row (Kim 2014, arXiv 1408.5882), since "keep nothing but" and "nothing but
    keep" have the same words. What the spans add starts at zero. In training some tokens are hidden from the
    first part, so that no single word comes to stand for a wording.
    """

    def __init__(self, width: int, size: int, span: int = 1):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.features = nn.Linear(width, FEATURES * size)
        self.out = nn.Linear(FEATURES * size, size)
        self.span = span
        if span > 1:
            self.spans = nn.Linear(span * width, FEATURES * size)
            self.out_spans = zero_linear(FEATURES * size, size)

    def forward(self, instructions: Instructions) -> Tensor:
        """[E, size], between -1 and 1; zero for an edit without an instruction, as if nothing were read."""
        real = instructions.real
        if self.training:
            real = real & (torch.rand(real.shape, device=real.device) >= HIDDEN_SHARE)
        x = self.norm(instructions.x)
        total = self.out((torch.relu(self.features(x)) * real[..., None]).amax(1))
        if self.span > 1:
            spans = self._spans(x * real[..., None])
            features = torch.relu(self.spans(spans)) * instructions.real[..., None]
            total = total + self.out_spans(features.amax(1))
        return torch.tanh(total) * instructions.real.any(1)[:, None]

    def _spans(self, x: Tensor) -> Tensor:
        """[E, n, span * width]: each token of x [E, n, width] with those around it, zeros beyond the ends."""
        before = (self.span - 1) // 2
        padded = torch.nn.functional.pad(x, (0, 0, before, self.span - 1 - before))
        return padded.unfold(1, self.span, 1).flatten(2)
