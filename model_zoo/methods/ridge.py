"""Many edits in one matrix at once: the joint ridge solve (MALMEN, Tan et al. 2024, arXiv 2311.04661).

Every edit i keeps its inputs U_i [n_i, d_in] and wants the output Y_i = U_i dW_i^T that it gives on them
alone. Stacked,
    dW^T = (U^T U + mu n C + lambda mean|u|^2 I)^-1 U^T Y
with C [d_in, d_in] the mean u u^T where the base model predicts its own answers. The solution does not depend
on the order of the edits. A row of U scaled by s counts s^2 times: that is how an editor weighs its tokens.
All of it can be differentiated.

That change is made of the keys alone. What an editor has learned of which prompts an edit should reach lies
in its own factors A [n, d_in], B [d_out, n]; they can be kept, dW^T = A^T X with
    X = B^T + (G^T G + lambda mean(diag G^T G) I)^-1 G^T (Y - G B^T),   G = U A^T
their sum, corrected by as little as it takes that each edit does on its own keys what it does alone. With
many edits n passes d_in, and the same change is found in that size: with S = U^T U, P = A^T A, the sum dW_0,
    dW^T = dW_0^T + P (S P + lambda tr(S P) / n I)^-1 U^T (Y - U dW_0^T).
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


def _stacked(layers: Sequence[LayerDelta]) -> tuple[Tensor, Tensor]:
    """Inputs [n, d_in] and wanted outputs [n, d_out] of all edits."""
    return torch.cat([layer.keys for layer in layers]).double(), torch.cat([_outputs(x) for x in layers])


def _is_low_rank(u: Tensor, y: Tensor) -> bool:
    """Whether n factors are smaller than the matrix."""
    d_in, d_out = u.shape[1], y.shape[1]
    return len(u) <= d_in * d_out / (d_in + d_out)


def solve(
    layers: Sequence[LayerDelta],
    covariance: Tensor | None,
    lam: Tensor | float = LAMBDA,
    mu: Tensor | float = MU,
) -> LayerDelta:
    """One matrix's joint change: low-rank (the push-through form of the inverse) while that is smaller, else
    dense.
    """
    u, y = _stacked(layers)
    ridge = penalty(u, covariance, lam, mu)
    if _is_low_rank(u, y):
        a = torch.linalg.solve(ridge, u.T).T  # U M^-1
        b = torch.linalg.solve(torch.eye(len(u), dtype=torch.float64) + a @ u.T, y).T
        # orthonormal rows: float32 then rounds the change itself, not large factors whose parts cancel
        rows, mix = torch.linalg.qr(a.T)
        return LayerDelta(A=rows.T.float(), B=(b @ mix.T).float(), K=u.float())
    return LayerDelta(D=dense_solution(u, y, ridge).float(), K=u.float())


def corrected(u: Tensor, y: Tensor, a: Tensor, b: Tensor, lam: Tensor | float) -> Tensor:
    """X^T [d_out, n], to stand in place of b [d_out, n] behind the factors a [n, d_in] of several edits, of
    their stacked inputs u [n, d_in] and wanted outputs y [n, d_out].
    """
    gains = u @ a.T
    normal = gains.T @ gains
    ridge = lam * normal.diagonal().mean() * torch.eye(len(u), dtype=u.dtype, device=u.device)
    return b + torch.cholesky_solve(gains.T @ (y - gains @ b.T), torch.linalg.cholesky(normal + ridge)).T


def corrected_sum(u: Tensor, y: Tensor, a: Tensor, b: Tensor, lam: Tensor | float) -> Tensor:
    """dW [d_out, d_in] of the same factors and their correction, in time that grows with n only once."""
    summed, p, sp = a.T @ b.T, a.T @ a, (u.T @ u) @ (a.T @ a)
    ridge = lam * sp.trace() / len(u) * torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
    return (summed + p @ torch.linalg.solve(sp + ridge, u.T @ (y - u @ summed))).T


def correct(layers: Sequence[LayerDelta], lam: Tensor | float = LAMBDA) -> LayerDelta:
    """One matrix's low-rank changes as one, each corrected for the others; dense where that is smaller."""
    u, y = _stacked(layers)
    a = torch.cat([layer.factors[0] for layer in layers]).double()
    b = torch.cat([layer.factors[1] for layer in layers], 1).double()
    if _is_low_rank(u, y):
        return LayerDelta(A=a.float(), B=corrected(u, y, a, b, lam).float(), K=u.float())
    return LayerDelta(D=corrected_sum(u, y, a, b, lam).float(), K=u.float())
