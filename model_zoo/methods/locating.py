"""Locate and edit: what ROME, EMMET, MEMIT and AlphaEdit share.

Every edit i has a key k_i at its subject's last token, and something z_i that should be added there
(values.py).
A change of one matrix is
    dW = Z^T A,    Z [n, d_out],    A [n, d_in] made of the keys K [n, d_in],
and the methods differ in A alone: how what is added at the edits' keys is kept from all other keys, of which
C [d_in, d_in] is the mean k k^T. Each edit carries Z, A and K, so several are combined by making A anew.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ..changes import Delta, LayerDelta, Patch, live, patch_of
from ..request import EditRequest
from ..statistics import text_covariance
from .base import EditMethod, Setup
from .hyperparameters import Hyperparameters
from .values import CONTEXTS, Rows, ValueSearch, asked_rows, keys_at

SEARCHED = 2  # contexts in which a value is sought; a key is the mean over all of them


class LocatingHyperparameters(Hyperparameters):
    """Where the matrices lie and how values are sought. The papers' figures are for GPT-2 XL and GPT-J."""

    depth: float = Field(
        0.4,
        ge=0.05,
        le=0.95,
        title="Depth",
        description="of the last edited block; ROME takes 17 of 48 in GPT-2 XL, MEMIT 8 of 28 in GPT-J",
    )
    steps: int = Field(
        25, ge=1, le=500, title="Steps", description="of Adam on the value; ROME takes 20, MEMIT 25"
    )
    lr: float = Field(
        0.5, gt=0, le=10, title="Learning rate", description="of Adam on the value; both take 0.5"
    )
    most: float = Field(
        4.0,
        gt=0,
        le=100,
        title="Longest",
        description="a value's change, in lengths of the value itself; ROME allows 4",
    )
    essence: float = Field(
        0.0625,
        ge=0,
        le=10,
        title="Essence",
        description="weight of the divergence on '<subject> is a'; both take 0.0625",
    )
    decay: float = Field(
        0.5,
        ge=0,
        le=10,
        title="Decay",
        description="of the value's change; both take 0.5",
    )
    stop_nll: float = Field(
        0.05, ge=0, le=10, title="Stop at", description="nats per target token; both stop at 0.05"
    )
    anchored: bool = Field(
        False,
        title="Norm anchor",
        description="values are made as long as the base model's there (NAS, arXiv 2602.02543)",
    )


class Locating(EditMethod):
    """A method of that family, bound to a backbone."""

    kind = Delta
    needs_subject = True
    needs_statistics = True
    has_directions = True
    Hyperparameters = LocatingHyperparameters
    layers: ClassVar[int] = 1  # blocks that are edited, the last one at `depth`

    def __init__(self, setup: Setup):
        super().__init__(setup)
        # the block above the last edited one must be there: what enters it is what the edits changed
        last = self.backbone.at_depth(self.config.depth, above=1)
        blocks = range(max(0, last - self.layers + 1), last + 1)
        self.paths = [self.backbone.family.linears(block)[-1] for block in blocks]
        self.above = last + 1
        starts = [prompt for prompt, _ in setup.source.statements()]
        measured = text_covariance(self.backbone, starts, self.paths, setup.progress, setup.text)
        self.text = hashlib.sha256("\n".join(setup.text).encode()).hexdigest()[:16] if setup.text else ""
        self.covariance = {path: measured[path].double() for path in self.paths}
        self._derived: dict[str, Tensor] = {}

    @property
    def fingerprint(self) -> str:
        return repr((self.config, self.text)) if self.text else super().fingerprint

    def derived(self, path: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        """What a method makes of a matrix's C, [d_in, d_in]; made once, since it takes a second."""
        if path not in self._derived:
            self._derived[path] = make(self.covariance[path])
        return self._derived[path]

    @abstractmethod
    def readers(self, path: str, keys: Tensor, kept: Tensor | None = None) -> Tensor:
        """A [n, d_in] of keys K [n, d_in] at a matrix, both float64; `kept` [m, d_in]: keys of earlier
        edits, whose outputs should stay.
        """

    # ---- edits -------------------------------------------------------------------------------------------

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return self._made(requests, alone=True)

    def together(self, requests: Sequence[EditRequest]) -> Delta:
        return self._made(requests, alone=False)[0]

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self._made([request], True, before)[0]

    def combine(self, changes: Sequence[Delta]) -> Delta:
        """A single edit is itself; of several A is made anew, of all their keys."""
        if len(changes) == 1:
            return changes[0]
        layers = {}
        for path in self.paths:
            parts = [change.layers[path] for change in changes]
            keys = torch.cat([part.keys for part in parts])
            added = torch.cat([part.factors[1].T if part.D is None else part.D for part in parts])
            layers[path] = self._layer(path, keys, added)
        return Delta(layers)

    def _layer(self, path: str, keys: Tensor, added: Tensor, kept: Tensor | None = None) -> LayerDelta:
        a = self.readers(path, keys.double().cpu(), None if kept is None else kept.double().cpu())
        return LayerDelta(A=a.float(), B=added.T.float().cpu(), K=keys.float().cpu())

    def _made(self, requests: Sequence[EditRequest], alone: bool, before: Delta | None = None) -> list[Delta]:
        """One change per request, each `alone` on the model, or one of all; on top of `before`.

        Block by block from the lowest: what is left to add at the last one is shared among the blocks that
        are still to come, as in MEMIT.
        """
        n = len(requests)
        start = patch_of(before)
        rows = asked_rows(self.backbone, requests)
        z, aim = self._sought(requests, rows, start)
        made = [Delta({}) for _ in range(n if alone else 1)]
        for left, path in zip(range(len(self.paths), 0, -1), self.paths):
            patches = [self._seen(start, change) for change in made]
            own = patches if alone else patches * n
            keys, _ = keys_at(self.backbone, rows, path, n, own)
            residual = (aim - self._above(rows, n, own)) / left if len(self.paths) > 1 else z
            kept = before.layers[path].K if before is not None and path in before.layers else None
            groups = [[i] for i in range(n)] if alone else [list(range(n))]
            made = [
                Delta({**change.layers, path: self._layer(path, keys[group], residual[group], kept)})
                for change, group in zip(made, groups, strict=True)
            ]
        return made

    def _sought(
        self, requests: Sequence[EditRequest], rows: Rows, start: Patch | None
    ) -> tuple[Tensor, Tensor]:
        """z [n, d_out] at the last matrix, and what should then leave its block [n, d]."""
        c, path, n = self.config, self.paths[-1], len(requests)
        seen = [start] * n
        _, value = keys_at(self.backbone, rows, path, n, seen)
        leaving = self._above(rows, n, seen)
        size = (leaving if len(self.paths) > 1 else value).norm(dim=1)
        search = ValueSearch(c.steps, c.lr, c.most, c.essence, c.decay, c.stop_nll)
        few = asked_rows(self.backbone, requests, CONTEXTS[:SEARCHED])
        z = search.values(self.backbone, requests, few, path, size, seen if start else None)
        if c.anchored:
            _, own = keys_at(self.backbone, rows, path, n)
            wanted = value + z
            z = wanted * (own.norm(dim=1) / wanted.norm(dim=1))[:, None] - value
        return z, leaving + z

    def _above(self, rows: Rows, n: int, patches: Sequence[Patch | None]) -> Tensor:
        """[n, d]: what enters the block above at the subjects' ends of the rows without a context."""
        first = [rows.edits.index(i) for i in range(n)]
        joined = [rows.joined[i] for i in first]
        states, _ = self.backbone.states(joined, self.above, live(list(patches), self.backbone))
        return torch.stack([states[i, rows.positions[r]] for i, r in enumerate(first)]).float()

    def _seen(self, start: Patch | None, change: Delta) -> Patch | None:
        parts = [*(start.changes if start else ()), *([change] if change.layers else ())]
        return Patch.of(parts)


def inverse(matrix: Tensor, share: float = 1e-4) -> Tensor:
    """The inverse of a covariance [d, d], raised by a small share of its mean eigenvalue."""
    raised = share * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype)
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix + raised))
