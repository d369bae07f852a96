"""FT-L: constrained fine-tuning of one MLP projection (Zhu et al. 2020, arXiv 2012.00363; the FT+L baseline
of ROME).

Needs no editor: Adam on a dense change of one matrix, each entry kept within +-epsilon, until the target is
likely enough.
"""

from collections.abc import Sequence
from typing import cast

from pydantic import Field

from ..backbone import Backbone
from ..changes import Delta
from ..request import EditRequest
from .base import Setup
from .fine_tuning import FineTuning, FineTuningHyperparameters, fit_dense


class FTLHyperparameters(FineTuningHyperparameters):
    """EasyEdit takes 25 steps at 5e-4 on models of billions of weights; small models need larger moves."""

    epsilon: float = Field(
        0.03,
        gt=0,
        le=10,
        title="Bound",
        description="on every entry of the change (the L-infinity norm of Zhu et al.)",
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

    def __init__(self, backbone: Backbone, hyperparameters: FTLHyperparameters | None = None):
        self.backbone, self.config = backbone, hyperparameters or FTLHyperparameters()
        block = max(0, backbone.blocks - self.config.block_from_top)
        self.path = backbone.family.linears(block)[-1]

    @classmethod
    def load(cls, setup: Setup) -> "FTL":
        return cls(setup.backbone, cast(FTLHyperparameters, setup.hyperparameters))

    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        c = self.config
        return fit_dense(self.backbone, requests, [self.path], c, start, c.epsilon)
