"""Whitened keys: a matrix's inputs, measured along the principal directions of the base model's own.

Let C = mean u u^T over the base model's own facts, with eigenvectors V and eigenvalues e. The basis is

    P = V diag(e + share mean(e))^-1/2,    so that    P P^T = (C + share mean(e) I)^-1.

The network reads u in the coordinates u P, and writes its u~ as coordinates too, which P^T turns into a key.
An untrained network writes what it reads, so u~ begins in the direction of (C + share mean(e) I)^-1 u. Such a
key answers to u and little to what all prompts have in common (the least-squares key of ROME, Meng et al.
2022, arXiv 2202.05262).
"""

import torch
from torch import Tensor


def principal_basis(covariance: Tensor, share: float) -> Tensor:
    """P [d_in, d_in] of a covariance C [d_in, d_in], in double precision."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * (values.clamp(min=0) + share * values.mean()).rsqrt()


def covariance_of(basis: Tensor) -> Tensor:
    """C + share mean(e) I, [d_in, d_in], which the basis was made of."""
    return torch.linalg.inv(basis.double() @ basis.double().T).float()


def to_coordinates(u: Tensor, basis: Tensor | None) -> Tensor:
    """Inputs u [n, d_in] as coordinates [n, d_in], each of length d_in^1/2; u itself where there is no basis.

    All are made equally long, because the inputs at a subject's own tokens are far longer than all others.
    """
    if basis is None:
        return u
    return torch.nn.functional.normalize(u @ basis, dim=-1) * u.shape[-1] ** 0.5


def to_key(coordinates: Tensor, basis: Tensor | None) -> Tensor:
    """Coordinates [n, d_in] as keys [n, d_in], the A of an update; as they are where there is no basis."""
    return coordinates if basis is None else coordinates @ basis.T
