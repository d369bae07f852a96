"""UltraEdit: one linear solve on normalised gradients (Gu et al. 2025, arXiv 2505.14679).

At every edited matrix a token of an edit has its input h [d_in] and the gradient g [d_out] at its output.
Both are normalised by the mean and deviation of other edits' (h^, g^), and the wanted outputs are
    v = -lr |h^|^2 g^,        dW^T = (H^T H + I)^-1 H^T V,
found here in the size of the tokens: dW = V^T (H H^T + I)^-1 H, of as many factors as there are tokens.

The paper goes on updating mean and deviation from edit to edit, so that an edit depends on those before it.
Here they are of known facts of the base model and stay, so that an edit is the same in any order.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from ..changes import Delta, LayerDelta, live, patch_of
from ..request import EditRequest
from .base import EditMethod, Setup
from .capture import keep_tokens
from .fine_tuning import plain_row
from .hyperparameters import Hyperparameters

FACTS = 128  # whose gradients are measured
ROWS = 32  # of one forward pass


class UltraEditHyperparameters(Hyperparameters):
    """The paper takes 1e-6 for models of 7 billion weights, whose inputs are far wider. On SmolLM2, over 12
    CounterFact edits of its validation part: 5e-5 says half of the targets and leaves 83% of what is around
    them, 1e-4 says 92% and leaves half, 2e-4 says all and leaves a tenth.
    """

    lr: float = Field(
        1e-4, gt=0, le=10, title="Learning rate", description="of the wanted outputs; measured on SmolLM2"
    )
    blocks: int = Field(3, ge=1, le=200, title="Blocks", description="so many of the last ones are edited")


class UltraEdit(EditMethod):
    """Bound to a backbone, with the statistics of its facts' gradients."""

    name = "ultraedit"
    pretty_name = "UltraEdit"
    reference_url = "https://arxiv.org/abs/2505.14679"
    kind = Delta
    needs_statistics = True
    has_directions = True
    Hyperparameters = UltraEditHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.paths = self.backbone.last_blocks(self.config.blocks)
        seen: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in self.paths}
        pairs = setup.source.statements()[:FACTS]
        if not pairs:
            raise ValueError("UltraEdit needs known facts to normalise gradients by, and none are at hand.")
        for i in range(0, len(pairs), ROWS):
            rows = [self.backbone.join(*pair) for pair in pairs[i : i + ROWS]]
            for path, (h, g, _) in self._tokens(rows).items():
                seen[path].append((h, g))
            setup.progress(f"Measuring gradients: {min(i + ROWS, len(pairs))} of {len(pairs)} facts")
        joined = {
            path: [torch.cat(part) for part in zip(*parts, strict=True)] for path, parts in seen.items()
        }
        self.scales = {path: tuple(map(_scale, parts)) for path, parts in joined.items()}

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return self._made(requests)

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self._made([request], before)[0]

    def combine(self, changes: Sequence[Delta]) -> Delta:
        """The same solve over the tokens of all edits."""
        layers = {}
        for path in self.paths:
            parts = [change.layers[path] for change in changes]
            keys = torch.cat([part.factors[0] for part in parts])
            wanted = torch.cat([_wanted(part) for part in parts])
            layers[path] = _solved(keys, wanted)
        return Delta(layers)

    def _made(self, requests: Sequence[EditRequest], before: Delta | None = None) -> list[Delta]:
        rows = [plain_row(self.backbone, request) for request in requests]
        tokens = self._tokens(rows, before)
        made = []
        for i in range(len(requests)):
            layers = {}
            for path, (h, g, row) in tokens.items():
                (mean_h, by_h), (mean_g, by_g) = self.scales[path]
                own, moved = h[row == i], g[row == i]
                far = ((own - mean_h) / by_h).square().sum(1, keepdim=True)
                layers[path] = _solved(own, -self.config.lr * far * (moved - mean_g) / by_g)
            made.append(Delta(layers))
        return made

    def _tokens(
        self, rows: Sequence, before: Delta | None = None
    ) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Per matrix the kept tokens' inputs h [N, d_in], gradients g [N, d_out] and rows [N]."""
        under = live([patch_of(before)] * len(rows), self.backbone)
        inputs, grads, real = self.backbone.capture(rows, list(self.paths), under)
        found = {}
        for path in self.paths:
            part = keep_tokens(inputs[path], grads[path], real)
            row = part.kept.nonzero()[:, 0]
            found[path] = (part.u[part.kept].cpu(), part.delta[part.kept].cpu(), row.cpu())
        return found


def _scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature of values [N, d]; a feature that never moves, and a single row, have
    deviation 1.
    """
    deviation = values.std(0, unbiased=False)
    return values.mean(0), torch.where(deviation > 1e-12, deviation, torch.ones_like(deviation))


def _solved(keys: Tensor, wanted: Tensor) -> LayerDelta:
    """V^T (H H^T + I)^-1 H of keys H [n, d_in] and wanted outputs V [n, d_out]."""
    h, v = keys.double(), wanted.double()
    b = torch.linalg.solve(h @ h.T + torch.eye(len(h), dtype=h.dtype), v)
    return LayerDelta(A=keys.float(), B=b.T.float())


def _wanted(layer: LayerDelta) -> Tensor:
    """V [n, d_out] that a solved change came of."""
    h, b = (factor.double() for factor in layer.factors)
    return (h @ h.T + torch.eye(len(h), dtype=h.dtype)) @ b.T
