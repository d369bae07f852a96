"""GRACE: a codebook of keys and values beside one MLP projection (Hartvigsen et al. 2023, arXiv 2211.11031).

The key is the input at the prompt's last token, the value the output there that makes the model say the
target; whatever comes within the radius of a key gets its value in place of the output. Where the balls of
two edits meet, both shrink to half of their distance. (That a ball grows over a new key of the same target
is left out: every edit keeps a value of its own.)
"""

from collections.abc import Sequence
from typing import cast

import torch
from pydantic import Field
from torch import Tensor

from ..changes import Codebook, Memory
from ..request import EditRequest
from .base import EditMethod, Setup
from .fine_tuning import plain_row, seek
from .hyperparameters import Hyperparameters
from .values import Nudged


class GRACEHyperparameters(Hyperparameters):
    """The paper edits one of the later blocks; its radius of 1 is for other widths."""

    depth: float = Field(
        0.5, ge=0.05, le=0.95, title="Depth", description="of the block; the paper takes 36 of 48 in GPT-2 XL"
    )
    radius: float = Field(
        0.3,
        gt=0,
        le=10,
        title="Radius",
        description="of a new key, in lengths of the key; the paper takes 1, not relative",
    )
    steps: int = Field(100, ge=1, le=1000, title="Steps", description="of Adam on the value; the paper: 100")
    lr: float = Field(0.5, gt=0, le=10, title="Learning rate", description="of Adam; the paper takes 1")
    stop_nll: float = Field(0.02, ge=0, le=10, title="Stop at", description="nats per target token")


class GRACE(EditMethod):
    """Bound to a backbone."""

    name = "grace"
    pretty_name = "GRACE (codebook)"
    reference_url = "https://arxiv.org/abs/2211.11031"
    kind = Memory
    Hyperparameters = GRACEHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        block = self.backbone.at_depth(self.config.depth)
        self.path = self.backbone.family.linears(block)[-1]

    def propose(self, requests: Sequence[EditRequest]) -> list[Memory]:
        c, backbone = self.config, self.backbone
        rows = [plain_row(backbone, request) for request in requests]
        ends = torch.tensor([row.start - 1 for row in rows])
        inputs, _ = backbone.inputs(rows, [self.path])
        keys = torch.stack([inputs[self.path][i, end] for i, end in enumerate(ends.tolist())])
        said = backbone.linear(self.path, keys)
        added = self._sought(rows, ends, said)
        radii = c.radius * keys.norm(dim=1)
        return [
            Memory({self.path: Codebook(keys[i : i + 1], radii[i : i + 1], (said + added)[i : i + 1])})
            for i in range(len(requests))
        ]

    def _sought(self, rows: Sequence, ends: Tensor, said: Tensor) -> Tensor:
        """What is to be added [n, d_out] at the prompts' last tokens, each sought by itself."""
        c, batch = self.config, self.backbone.batch(rows)
        added = torch.zeros_like(said, requires_grad=True)

        def losses() -> tuple[Tensor, Tensor]:
            nll = self.backbone.row_nll(batch, Nudged(self.path, ends, added))
            return nll, nll

        return seek(added, losses, c.steps, c.lr, c.stop_nll)

    def combine(self, changes: Sequence[Memory]) -> Memory:
        """One codebook; balls that meet are settled in the order of the edits."""
        book, *others = (cast(Codebook, change.books[self.path]) for change in changes)
        for other in others:
            book = _with(book, other)
        return Memory({self.path: book})


def _with(book: Codebook, new: Codebook) -> Codebook:
    """A codebook with one more entry [1]: the radii of other values shrink so that no two balls meet."""
    distance = torch.cdist(book.keys, new.keys)[:, 0]
    radii, own = book.radii.clone(), new.radii.clone()
    meets = distance < radii + own
    if meets.any():
        half = distance[meets] / 2
        radii[meets] = torch.minimum(radii[meets], half)
        own = torch.minimum(own, half.min())
    return Codebook(
        torch.cat([book.keys, new.keys]), torch.cat([radii, own]), torch.cat([book.values, new.values])
    )
