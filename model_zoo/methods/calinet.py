"""CaliNet: calibration neurons beside the MLP of a late block (Dong et al. 2022, arXiv 2210.03329).

    y' = y + GELU(x K^T) V
with K [m, d] and V [m, d_out] trained on the edit, its prompt behind several contexts; the weights stay. The
paper trains one set of neurons on many facts; here every edit has its own, and those of several stand side by
side.
"""

from collections.abc import Sequence

import torch
from pydantic import Field

from ..changes import LiveNeurons, Neurons
from ..request import EditRequest
from .base import EditMethod, Setup
from .fine_tuning import FineTuningHyperparameters, descend, whole_row
from .values import CONTEXTS


class CaliNetHyperparameters(FineTuningHyperparameters):
    """The paper adds 64 neurons to the last block of T5 for a hundred facts."""

    lr: float = Field(1e-2, gt=0, le=1, title="Learning rate", description="of Adam; measured here")
    neurons: int = Field(16, ge=1, le=1024, title="Neurons", description="of each edit; the paper takes 64")
    block_from_top: int = Field(
        2, ge=1, le=200, title="Block", description="counted from the top; the paper takes the last"
    )


class CaliNet(EditMethod):
    """Bound to a backbone."""

    name = "calinet"
    pretty_name = "CaliNet (calibration neurons)"
    reference_url = "https://arxiv.org/abs/2210.03329"
    kind = Neurons
    Hyperparameters = CaliNetHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        block = self.backbone.from_top(self.config.block_from_top)
        linears = self.backbone.family.linears(block)
        self.reads, self.writes = linears[0], linears[-1]

    def propose(self, requests: Sequence[EditRequest]) -> list[Neurons]:
        return [self._fit([request]) for request in requests]

    def together(self, requests: Sequence[EditRequest]) -> Neurons:
        """One set of neurons trained on all edits, as many as they would have alone."""
        return self._fit(requests)

    def combine(self, changes: Sequence[Neurons]) -> Neurons:
        keys, values = (
            torch.cat([getattr(change, name) for change in changes]) for name in ("keys", "values")
        )
        return Neurons(self.reads, self.writes, keys, values)

    def _fit(self, requests: Sequence[EditRequest]) -> Neurons:
        c, backbone = self.config, self.backbone
        rows = []
        for request in requests:
            put = backbone.asked(request.prompt, request.chat)
            contexts = CONTEXTS if put == request.prompt else ("",)
            rows += [whole_row(backbone, request, context) for context in contexts]
        batch, m = backbone.batch(rows), c.neurons * len(requests)
        random = torch.Generator().manual_seed(0)  # the same edit is made the same way
        d, d_out = backbone.shape(self.reads)[1], backbone.shape(self.writes)[0]
        keys = torch.randn(1, m, d, generator=random).div_(d**0.5).to(backbone.device).requires_grad_()
        values = torch.zeros(1, m, d_out, device=backbone.device, requires_grad=True)

        def loss() -> torch.Tensor:
            live = LiveNeurons(
                self.reads, self.writes, keys, values, torch.zeros(len(rows), dtype=torch.long)
            )
            return backbone.row_nll(batch, live).mean()

        descend([keys, values], loss, c.steps, c.lr, c.stop_nll)
        return Neurons(self.reads, self.writes, keys[0], values[0])
