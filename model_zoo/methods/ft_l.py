"""FT-L: constrained fine-tuning of one MLP projection (Zhu et al. 2020, arXiv 2012.00363; the FT+L baseline
of ROME).

Needs no editor: Adam on a dense change of one matrix, each entry kept within +-epsilon, until the target is
likely enough.
"""

from collections.abc import Sequence

from pydantic import Field

from ..changes import Delta
from ..request import EditRequest
from .base import Setup
from .fine_tuning import FineTuning, FineTuningHyperparameters, fit_dense


class FTLHyperparameters(FineTuningHyperparameters):
    """EasyEdit takes 25 steps at 5e-4 on models of billions of weights. Learning rate and bound are for 768
    inputs and fall as 1 / inputs: measured on the atlas (768) and on SmolLM2 (1,536).
    """

    epsilon: float = Field(
        0.02,
        gt=0,
        le=10,
        title="Bound",
        description="on every entry at 768 inputs (the L-infinity norm of Zhu et al.); measured here",
    )
    block_from_top: int = Field(
        2, ge=1, le=200, title="Block", description="counted from the top; 1 is the last block"
    )


class FTL(FineTuning):
    """Constrained fine-tuning bound to a backbone."""

    name = "ft-l"
    pretty_name = "FT-L (constrained fine-tuning)"
    reference_url = "https://arxiv.org/abs/2012.00363"
    Hyperparameters = FTLHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        block = self.backbone.from_top(self.config.block_from_top)
        self.path = self.backbone.family.linears(block)[-1]

    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        c = self.config
        return fit_dense(self.backbone, requests, [self.path], c, start, c.epsilon)
