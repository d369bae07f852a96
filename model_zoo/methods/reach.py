"""Reach: how an instruction sends an edit along the directions that all keys of a relation share.

Keys of one relation ("The capital of ... is") share a direction. A change written along it answers to every
subject of the relation; one written along the edit's own key answers to its own subject. Let u be a token's
whitened key, k what the gated network writes for it, and R [c, d_in] the orthonormal directions that the
relations' mean keys span. Then

    u~ = e^keep k + reach e^stretch d_in^1/2 s R,    s = u R^T / |u R^T|.

`reach` and `keep` are read of the instruction, `stretch` of s, which says which relation the key belongs to.
All three begin at zero, where u~ = k.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .gates import own_matrix


def relation_directions(means: Sequence[Tensor], most: int) -> Tensor:
    """R [c, d_in]: the leading directions, at most so many, of what the relations' mean keys [d_in] span."""
    return torch.linalg.svd(torch.stack(list(means)), full_matrices=False).Vh[:most]


class Reach(NamedTuple):
    """What the network of one shape has for it: R of its M matrices, [M, c, d_in], and three heads."""

    common: Tensor
    reach: nn.Linear
    keep: nn.Linear
    stretch: nn.Linear

    def project(self, u: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """s [N, c] and d_in^1/2 s R [N, d_in] of keys u [N, d_in]; `matrix` [N] says whose keys they are."""
        along = u.new_empty(len(u), self.common.shape[1])
        shared = torch.empty_like(u)
        for m, directions in enumerate(self.common):
            here = matrix == m
            along[here] = torch.nn.functional.normalize(u[here] @ directions.T, dim=-1)
            shared[here] = along[here] @ directions * u.shape[1] ** 0.5
        return along, shared

    def extend(self, key: Tensor, u: Tensor, matrix: Tensor, read: Tensor) -> Tensor:
        """u~ [N, d_in] of written keys k [N, d_in]; `read` [N, instruction] is read of the instructions."""
        along, shared = self.project(u, matrix)
        reach = own_matrix(self.reach(read), matrix)
        stretch = own_matrix(self.stretch(along), matrix)
        keep = own_matrix(self.keep(read), matrix)
        return keep.exp() * key + reach * stretch.exp() * shared
