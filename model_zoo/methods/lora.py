"""LoRA: a low-rank adapter trained on the edit alone (Hu et al. 2021, arXiv 2106.09685).

W' = W + (alpha / r) B A, B zero and A random at the start, as in the paper; the scale is kept inside B.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import Field

from ..changes import Delta, LayerDelta, LayerFactors
from ..request import EditRequest
from .base import Setup
from .fine_tuning import FineTuning, FineTuningHyperparameters, descend, rows_of, under


class LoRAHyperparameters(FineTuningHyperparameters):
    """EasyEdit trains adapters of rank 8 for 70 steps at 5e-3."""

    steps: int = Field(70, ge=1, le=1000, title="Steps", description="Adam steps at most; EasyEdit takes 70")
    lr: float = Field(
        1e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="of Adam; EasyEdit takes 5e-3, measured on SmolLM2",
    )
    rank: int = Field(8, ge=1, le=256, title="Rank", description="of each adapter; EasyEdit takes 8")
    alpha: float = Field(
        32.0, gt=0, le=1024, title="Alpha", description="the adapter counts alpha / rank; EasyEdit takes 32"
    )
    blocks: int = Field(3, ge=1, le=200, title="Blocks", description="so many of the last ones get adapters")


class LoRA(FineTuning):
    """Adapters on the MLP matrices of the last blocks."""

    name = "lora"
    pretty_name = "LoRA"
    reference_url = "https://arxiv.org/abs/2106.09685"
    has_directions = True
    Hyperparameters = LoRAHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.paths = self.backbone.last_blocks(self.config.blocks)

    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        c, backbone = self.config, self.backbone
        random = torch.Generator().manual_seed(0)  # the same edit is made the same way
        batch, layers = rows_of(backbone, requests), {}
        for path in self.paths:
            d_out, d_in = backbone.shape(path)
            a = torch.empty(1, c.rank, d_in).uniform_(-1, 1, generator=random) / math.sqrt(d_in)
            b = torch.zeros(1, d_out, c.rank)
            layers[path] = (a.to(backbone.device).requires_grad_(), b.to(backbone.device).requires_grad_())
        scale = c.alpha / c.rank

        def live():
            grown = {path: LayerFactors(A=a, B=scale * b) for path, (a, b) in layers.items()}
            return under(grown, start, len(requests), backbone)

        trained = [factor for pair in layers.values() for factor in pair]
        descend(trained, lambda: backbone.row_nll(batch, live()).mean(), c.steps, c.lr, c.stop_nll)
        return Delta(
            {path: LayerDelta(A=a[0].detach(), B=scale * b[0].detach()) for path, (a, b) in layers.items()}
        )
