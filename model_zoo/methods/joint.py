"""What a network learns of the joint solve (ridge.py): each token's weight, each matrix's (lambda, mu).

A token whose key is scaled by w counts w^2 times in the least squares. All are learned as logarithms, which
keeps them positive.
"""

import torch
from torch import Tensor, nn

from .ridge import LAMBDA, MU

MAX_LOG_TOKEN_WEIGHT = 4.0  # a token may weigh e^4 times as much, or as little, as another


def token_weights(head: nn.Linear | None, h: Tensor) -> Tensor:
    """[N]: each token's weight, of the last layer's output h [N, width]; 1 where none is learned."""
    if head is None:
        return h.new_ones(len(h))
    return head(h)[:, 0].clamp(-MAX_LOG_TOKEN_WEIGHT, MAX_LOG_TOKEN_WEIGHT).exp()


def initial_log_ridge(matrices: int) -> nn.Parameter:
    """[M, 2]: the logarithms of (lambda, mu) that training begins with."""
    return nn.Parameter(torch.tensor([LAMBDA, MU]).log().repeat(matrices, 1))
