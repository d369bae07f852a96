"""FT-L: constrained fine-tuning of one MLP projection (Zhu et al. 2020, arXiv 2012.00363; the FT+L baseline
of ROME).

Needs no editor: Adam on a dense change of one matrix, each entry kept within +-epsilon, until the target is
likely enough.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from pydantic import Field

from ..backbone import Backbone
from ..changes import Delta, Factors, LayerDelta, LayerFactors
from ..request import EditRequest
from .base import EditMethod, Setup, summed
from .hyperparameters import Hyperparameters


class FTLHyperparameters(Hyperparameters):
    """EasyEdit takes 25 steps at 5e-4 on models of billions of weights; small models need larger moves."""

    steps: int = Field(
        40,
        ge=1,
        le=1000,
        title="Steps",
        description="Adam steps at most; EasyEdit takes 25, small models need more",
    )
    lr: float = Field(
        2e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="of Adam; EasyEdit's 5e-4 is for billions of weights",
    )
    epsilon: float = Field(
        0.03,
        gt=0,
        le=10,
        title="Bound",
        description="on every entry of the change (the L-infinity norm of Zhu et al.)",
    )
    stop_nll: float = Field(
        0.02,
        ge=0,
        le=10,
        title="Stop at",
        description="nats per target token at which the edit is done; measured here",
    )
    block_from_top: int = Field(
        2, ge=1, le=200, title="Block", description="counted from the top; 1 is the last block"
    )


class FTL(EditMethod):
    """Constrained fine-tuning bound to a backbone. The prompt carries no instruction: the method cannot read
    one.
    """

    name = "ft-l"
    pretty_name = "FT-L (constrained fine-tuning)"
    reference_url = "https://arxiv.org/abs/2012.00363"
    kind = Delta
    Hyperparameters = FTLHyperparameters

    def __init__(self, backbone: Backbone, hyperparameters: FTLHyperparameters | None = None):
        self.backbone, self.config = backbone, hyperparameters or FTLHyperparameters()
        block = max(0, backbone.blocks - self.config.block_from_top)
        self.path = backbone.family.linears(block)[-1]

    @classmethod
    def load(cls, setup: Setup) -> "FTL":
        return cls(setup.backbone, cast(FTLHyperparameters, setup.hyperparameters))

    @property
    def fingerprint(self) -> str:
        return repr(self.config)

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return [self._fit([request]) for request in requests]

    def combine(self, changes: Sequence[Delta]) -> Delta:
        return summed(changes)

    def together(self, requests: Sequence[EditRequest]) -> Delta:
        """One change fitted on all requests together."""
        return self._fit(requests)

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self._fit([request], before)

    def _fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        """One change for all the requests, on the base model or on that under `start`; the bound holds for
        their sum.
        """
        c = self.config
        batch = self.backbone.batch(
            [self.backbone.join(self.backbone.asked(r.prompt, r.chat), r.target) for r in requests]
        )
        change = torch.zeros(
            1, *self.backbone.shape(self.path), device=self.backbone.device
        )  # (1, d_out, d_in)
        under = Factors.of([start] if start else [], [0] * len(requests), self.backbone.device)
        if start is not None and self.path in start.layers:
            change += start.layers[self.path].dense().to(change)
        begun = change.clone()
        change.requires_grad_()
        adam = torch.optim.Adam([change], lr=c.lr)
        live = replace(under, layers={**under.layers, self.path: LayerFactors(D=change)})
        with torch.enable_grad():
            for _ in range(c.steps):
                nll = self.backbone.row_nll(batch, live).mean()
                if nll.item() < c.stop_nll:
                    break
                adam.zero_grad()
                nll.backward()
                adam.step()
                with torch.no_grad():
                    change.clamp_(-c.epsilon, c.epsilon)
        return Delta({self.path: LayerDelta(D=(change - begun)[0])})
