"""Whitened keys: a matrix's inputs, measured along the principal directions of the base model's own.

Let C = mean u u^T over the base model's own facts, with eigenvectors V and eigenvalues e. The basis is

    P = V diag(e + share mean(e))^-1/2,    so that    P P^T = (C + share mean(e) I)^-1.

The network reads u in the coordinates u P, and writes its u~ as coordinates too, which P^T turns into a key.
An untrained network writes what it reads, so u~ begins in the direction of (C + share mean(e) I)^-1 u. Such a
key answers to u and little to what all prompts have in common (the least-squares key of ROME, Meng et al.
2022, arXiv 2202.05262).

P is as large as the matrix it belongs to. A basis of the leading eigenvectors alone is small: the others
share their mean eigenvalue, and the symmetric root stands in place of P.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Basis(Protocol):
    """How the inputs of one matrix are read and written."""

    def read(self, u: Tensor) -> Tensor:
        """Inputs u [n, d_in] as coordinates, of any length."""
        ...

    def write(self, coordinates: Tensor) -> Tensor:
        """Coordinates [n, d_in] as keys [n, d_in]."""
        ...

    def covariance(self) -> Tensor:
        """C + share mean(e) I, [d_in, d_in], which the basis was made of."""
        ...


class FullBasis(NamedTuple):
    """P [d_in, d_in]."""

    matrix: Tensor

    def read(self, u: Tensor) -> Tensor:
        return u @ self.matrix

    def write(self, coordinates: Tensor) -> Tensor:
        return coordinates @ self.matrix.T

    def covariance(self) -> Tensor:
        return torch.linalg.inv(self.matrix.double() @ self.matrix.double().T).float()


class LeadingBasis(NamedTuple):
    """The symmetric root of the same inverse, of `vectors` [r, d_in] that have a scale each, and all others
    that share the last of `scales` [r + 1].
    """

    vectors: Tensor
    scales: Tensor

    def read(self, u: Tensor) -> Tensor:
        own, rest = self.scales[:-1], self.scales[-1]
        return rest * u + ((u @ self.vectors.T) * (own - rest)) @ self.vectors

    def write(self, coordinates: Tensor) -> Tensor:
        return self.read(coordinates)

    def covariance(self) -> Tensor:
        vectors, raised = self.vectors.double(), self.scales.double() ** -2
        spread = (vectors.T * (raised[:-1] - raised[-1])) @ vectors
        return (spread + raised[-1] * torch.eye(len(spread)).to(spread)).float()


def principal_basis(covariance: Tensor, share: float) -> Tensor:
    """P [d_in, d_in] of a covariance C [d_in, d_in], in double precision."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * (values.clamp(min=0) + share * values.mean()).rsqrt()


def leading_basis(covariance: Tensor, share: float, rank: int) -> LeadingBasis:
    """The basis of a covariance C [d_in, d_in] by its first `rank` eigenvectors; the other directions share
    the mean of their eigenvalues.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    values = values.clamp(min=0).flip(0)
    raised = torch.cat([values[:rank], values[rank:].mean()[None]]) + share * values.mean()
    return LeadingBasis(vectors.flip(1)[:, :rank].T.float(), raised.rsqrt().float())


def to_coordinates(u: Tensor, basis: Basis | None) -> Tensor:
    """Inputs u [n, d_in] as coordinates [n, d_in], each of length d_in^1/2; u itself where there is no basis.

    All are made equally long, because the inputs at a subject's own tokens are far longer than all others.
    """
    if basis is None:
        return u
    return torch.nn.functional.normalize(basis.read(u), dim=-1) * u.shape[-1] ** 0.5


def to_key(coordinates: Tensor, basis: Basis | None) -> Tensor:
    """Coordinates [n, d_in] as keys [n, d_in], the A of an update; as they are where there is no basis."""
    return coordinates if basis is None else basis.write(coordinates)
