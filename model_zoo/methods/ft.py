"""FT: fine-tuning of MLP projections on the edit alone, without a bound (the FT baseline of ROME, Meng et al.
2022, arXiv 2202.05262).
"""

from collections.abc import Sequence

from pydantic import Field

from ..changes import Delta
from ..request import EditRequest
from .base import Setup
from .fine_tuning import FineTuning, FineTuningHyperparameters, fit_dense


class FTHyperparameters(FineTuningHyperparameters):
    """The down projections of the last blocks, moved freely; the learning rate falls as 1 / inputs."""

    lr: float = Field(
        2e-4,
        gt=0,
        le=1,
        title="Learning rate",
        description="of Adam, at 768 inputs; measured on SmolLM2, ROME and EasyEdit take 5e-4",
    )
    blocks: int = Field(3, ge=1, le=200, title="Blocks", description="so many of the last ones are trained")


class FT(FineTuning):
    """Fine-tuning bound to a backbone."""

    name = "ft"
    pretty_name = "FT (fine-tuning)"
    reference_url = "https://arxiv.org/abs/2202.05262"
    Hyperparameters = FTHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        first = self.backbone.from_top(self.config.blocks)
        self.paths = [self.backbone.family.linears(b)[-1] for b in range(first, self.backbone.blocks)]

    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        return fit_dense(self.backbone, requests, self.paths, self.config, start)
