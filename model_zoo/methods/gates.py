"""Instruction gates: how what is read of an instruction turns the network's dials.

With r the vector read of the instruction, and the heads' weights all zero at first,

    each residual layer    scale + rescale r,  shift + reshift r    in place of scale and shift,
    the last one's output  h (1 + gate r),
    its half delta~        delta~ e^(rate r),    with a rate for each edited matrix.

Without an instruction none of this is done: the edit is the published network's.
"""

from torch import Tensor


def own_matrix(values: Tensor, matrix: Tensor) -> Tensor:
    """[N, 1]: of a head's values for all matrices [N, M], the one for each token's own matrix [N]."""
    return values.gather(1, matrix[:, None])
