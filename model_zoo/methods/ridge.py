"""Many edits in one matrix at once: the joint ridge solve (MALMEN, Tan et al. 2024, arXiv 2311.04661).

Every edit i keeps its inputs U_i [n_i, d_in] and wants the output Y_i = U_i dW_i^T that it gives on them
alone. Stacked,
    dW^T = (U^T U + mu n C + lambda mean|u|^2 I)^-1 U^T Y
with C [d_in, d_in] the mean u u^T where the base model predicts its own answers. The solution does not depend
on the order of the edits. A row of U scaled by s counts s^2 times: that is how an editor weighs its tokens.
All of it can be differentiated.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..changes import LayerDelta

LAMBDA, MU = 0.01, 0.1  # as measured here; an editor trained through the solve has its own


def penalty(u: Tensor, covariance: Tensor | None, lam: Tensor | float, mu: Tensor | float) -> Tensor:
    """mu n C + lambda mean|u|^2 I, [d_in, d_in], of stacked inputs u [n, d_in]."""
    ridge = lam * u.square().sum(1).mean() * torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
    return ridge if covariance is None else ridge + mu * len(u) * covariance.to(u)


def dense_solution(u: Tensor, y: Tensor, ridge: Tensor) -> Tensor:
    """dW [d_out, d_in] of stacked inputs u [n, d_in] and wanted outputs y [n, d_out]."""
    return torch.cholesky_solve(u.T @ y, torch.linalg.cholesky(u.T @ u + ridge)).T


def _outputs(layer: LayerDelta) -> Tensor:
    """What a low-rank change gives on its own keys, [n, d_out]."""
    a, b = layer.factors
    return (layer.keys.double() @ a.T.double()) @ b.T.double()


def solve(
    layers: Sequence[LayerDelta],
    covariance: Tensor | None,
    lam: Tensor | float = LAMBDA,
    mu: Tensor | float = MU,
) -> LayerDelta:
    """One matrix's joint change: low-rank (the push-through form of the inverse) while that is smaller, else
    dense.
    """
    u = torch.cat([layer.keys for layer in layers]).double()  # (n, d_in)
    y = torch.cat([_outputs(layer) for layer in layers])  # (n, d_out)
    n, d_in, d_out = len(u), u.shape[1], y.shape[1]
    ridge = penalty(u, covariance, lam, mu)
    if n <= d_in * d_out / (d_in + d_out):
        a = torch.linalg.solve(ridge, u.T).T  # U M^-1
        b = torch.linalg.solve(torch.eye(n, dtype=torch.float64) + a @ u.T, y).T
        # orthonormal rows: float32 then rounds the change itself, not large factors whose parts cancel
        rows, mix = torch.linalg.qr(a.T)
        return LayerDelta(A=rows.T.float(), B=(b @ mix.T).float(), K=u.float())
    return LayerDelta(D=dense_solution(u, y, ridge).float(), K=u.float())
