"""FT-L: constrained fine-tuning of one MLP projection (Zhu et al. 2020, arXiv 2012.00363; the FT+L baseline of ROME).

Needs no editor: Adam on a dense change of one matrix, each entry kept within +-epsilon, until the target is likely enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..backbone import Backbone
from ..delta import Delta, Factors, LayerDelta, LayerFactors, concatenate
from ..tasks.request import EditRequest
from . import MethodInfo

NAME = "ft-l"


@dataclass(frozen=True)
class FTLConfig:
    """Steps, Adam's rate and the norm bound. EasyEdit uses 25 steps at 5e-4 on billion-parameter models; small models
    need larger moves."""

    steps: int = 40
    lr: float = 2e-3
    epsilon: float = 0.03  # bound on every entry of the change (L-infinity)
    stop_nll: float = 0.02  # nats per target token at which the edit is done
    block_from_top: int = 2  # 1 is the last block


class FTL:
    """Constrained fine-tuning bound to a backbone. The prompt carries no instruction: the method cannot read one."""

    name = NAME

    def __init__(self, backbone: Backbone, config: FTLConfig | None = None):
        self.backbone, self.config = backbone, config or FTLConfig()
        block = max(0, backbone.blocks - self.config.block_from_top)
        self.path = backbone.family.linears(block)[-1]

    @property
    def fingerprint(self) -> str:
        return str(self.config)

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return [self.fit([request]) for request in requests]

    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        """One change for all the requests, fitted together, from no change or from that of `start` on."""
        c = self.config
        batch = self.backbone.batch([self.backbone.join(request.prompt, request.target) for request in requests])
        change = torch.zeros(1, *self.backbone.shape(self.path), device=self.backbone.device)
        if start is not None:
            change += start.layers[self.path].dense().to(change)
        change.requires_grad_()
        adam = torch.optim.Adam([change], lr=c.lr)
        factors = Factors({self.path: LayerFactors(D=change)}, torch.zeros(len(requests), dtype=torch.long))
        with torch.enable_grad():
            for _ in range(c.steps):
                nll = self.backbone.row_nll(batch, factors).mean()
                if nll.item() < c.stop_nll:
                    break
                adam.zero_grad()
                nll.backward()
                adam.step()
                with torch.no_grad():
                    change.clamp_(-c.epsilon, c.epsilon)
        about = requests[0].to_dict() if len(requests) == 1 else {"edits": [request.to_dict() for request in requests]}
        return Delta({self.path: LayerDelta(D=change[0])}, {**about, "method": self.name, "base_model": self.backbone.name})

    def combine(self, deltas: Sequence[Delta]) -> Delta:
        return deltas[0] if len(deltas) == 1 else concatenate(deltas)


def load(backbone: Backbone, editor: Path | None) -> FTL:
    return FTL(backbone)


INFO = MethodInfo(
    name=NAME,
    pretty_name="FT-L (constrained fine-tuning)",
    reference_url="https://arxiv.org/abs/2012.00363",
    needs_editor=False,
    supports_instruction=False,
    low_rank=False,
    load=load,
)
