"""The MEND hypernetwork (Mitchell et al. 2022, arXiv 2110.11309), which InstructEdit trains as well.

For each edited matrix and kept token it maps (u, delta), the input and the output gradient, to (u~, delta~):

    h = [(u - mean) / std, (delta - mean) / std]        normalised, with the statistics of training edits
    h <- max(scale (A^T B^T h + bias) + shift, 0) + h   two residual layers, with A at zero at first
    [u~, delta~] = h
    delta W = -lr sum_t delta~_t u~_t^T                 with a learned edit rate lr per matrix

The sign is that of gradient descent, so an untrained editor already points downhill.

What goes beyond the paper has a file each, and is off unless HyperConfig asks for it: whitening.py,
instruction.py, gates.py, reach.py, joint.py and strength.py. Their linear maps are listed in heads.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ..changes import LayerFactors
from .capture import Captured
from .gates import own_matrix
from .heads import make_head
from .hyper_config import HyperConfig
from .instruction import InstructionReader, Instructions
from .joint import initial_log_ridge, token_weights
from .reach import Reach, relation_directions
from .strength import followed
from .whitening import Basis, FullBasis, LeadingBasis, leading_basis, principal_basis, to_coordinates, to_key


class ResidualLayer(nn.Module):
    """h <- max(scale (A^T B^T h + bias) + shift, 0) + h; scale and shift per matrix. A starts at zero."""

    def __init__(self, width: int, rank: int, matrices: int, instruction: int = 0):
        super().__init__()
        rank = min(rank, width)
        self.A = nn.Parameter(torch.zeros(rank, width))
        self.B = nn.Parameter(torch.randn(width, rank) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(matrices, width))
        self.shift = nn.Parameter(torch.zeros(matrices, width))
        if instruction:  # gates.py
            self.rescale = make_head("rescale", instruction=instruction, width=width)
            self.reshift = make_head("reshift", instruction=instruction, width=width)

    def forward(self, h: Tensor, matrix: Tensor, read: Tensor | None = None) -> Tensor:
        """h [N, width], matrix [N], read [N, instruction] -> [N, width]"""
        scale, shift = self.scale.index_select(0, matrix), self.shift.index_select(0, matrix)
        if read is not None:
            scale, shift = scale + self.rescale(read), shift + self.reshift(read)
        return (scale * ((h @ self.B) @ self.A + self.bias) + shift).clamp(min=0) + h


class ShapeNetwork(nn.Module):
    """The network that all edited matrices of one shape share.

    Submodules stand in the order of an editor's file: its fingerprint depends on it.
    """

    u_mean: Tensor  # [matrices, d_in], as u_std; the deltas' are [matrices, d_out]
    u_std: Tensor
    delta_mean: Tensor
    delta_std: Tensor
    basis: Tensor | None  # [matrices, d_in, d_in]; or of leading directions alone:
    vectors: Tensor | None  # [matrices, whitened_rank, d_in]
    scales: Tensor | None  # [matrices, whitened_rank + 1]
    common: Tensor | None  # [matrices, common, d_in]

    def __init__(self, d_out: int, d_in: int, matrices: int, config: HyperConfig):
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        width = d_in + d_out
        sizes = {
            "instruction": config.instruction,
            "common": config.common,
            "matrices": matrices,
            "width": width,
        }
        for name, size in (("u", d_in), ("delta", d_out)):
            self.register_buffer(f"{name}_mean", torch.zeros(matrices, size))
            self.register_buffer(f"{name}_std", torch.ones(matrices, size))
        leading = min(config.whitened_rank, d_in - 1)
        full = config.whitened and not leading
        self.register_buffer("basis", torch.zeros(matrices, d_in, d_in) if full else None)
        self.register_buffer("vectors", torch.zeros(matrices, leading, d_in) if leading else None)
        self.register_buffer("scales", torch.zeros(matrices, leading + 1) if leading else None)
        self.register_buffer("common", torch.zeros(matrices, config.common, d_in) if config.common else None)
        if config.common:
            self.reach = make_head("reach", **sizes)
            self.keep = make_head("keep", **sizes)
            self.stretch = make_head("stretch", **sizes)
        self.layers = nn.ModuleList(
            ResidualLayer(width, config.rank, matrices, config.instruction) for _ in range(config.layers)
        )
        if config.instruction:
            self.gate = make_head("gate", **sizes)
            self.rate = make_head("rate", **sizes)
        self.token_weight = make_head("token_weight", **sizes) if config.joint else None

    def basis_of(self, m: int) -> Basis | None:
        """The basis of matrix m (whitening.py); None where keys are read as they are."""
        if self.vectors is not None and self.scales is not None:
            return LeadingBasis(self.vectors[m], self.scales[m])
        return None if self.basis is None else FullBasis(self.basis[m])

    def whiten(self, m: int, covariance: Tensor, share: float) -> None:
        """Take the basis of matrix m from its mean u u^T [d_in, d_in]."""
        if self.basis is not None:
            self.basis[m].copy_(principal_basis(covariance, share))
        if self.vectors is not None and self.scales is not None:
            found = leading_basis(covariance, share, self.vectors.shape[1])
            self.vectors[m].copy_(found.vectors)
            self.scales[m].copy_(found.scales)

    def forward(
        self, u: Tensor, delta: Tensor, matrix: Tensor, read: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens u [N, d_in], delta [N, d_out] -> u~, delta~ of the same shapes, and weights [N] (joint.py).

        `matrix` [N] says which matrix each token belongs to, `read` [N, instruction] what was read of its
        edit's instruction.
        """
        u, delta = self._normalised(u, delta, matrix)
        h = torch.cat([u, delta], dim=-1)
        for layer in self.layers:
            h = layer(h, matrix, read)
        weight = token_weights(self.token_weight, h)
        if read is not None:
            h = self._instructed(h, u, matrix, read)
        return *h.split([self.d_in, self.d_out], dim=-1), weight

    def _normalised(self, u: Tensor, delta: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        u = (u - self.u_mean[matrix]) / (self.u_std[matrix] + 1e-7)
        # gradients are small numbers: the guard must stay far below their spread
        delta = (delta - self.delta_mean[matrix]) / (self.delta_std[matrix] + 1e-12)
        return u, delta

    def _instructed(self, h: Tensor, u: Tensor, matrix: Tensor, read: Tensor) -> Tensor:
        """The output h [N, width] as instructions have it: gated (gates.py), its key extended (reach.py)."""
        rate = own_matrix(self.rate(read), matrix)
        h = h * (1 + self.gate(read))
        key, gradient = h[:, : self.d_in], h[:, self.d_in :]
        if self.common is not None:
            key = Reach(self.common, self.reach, self.keep, self.stretch).extend(key, u, matrix, read)
        return torch.cat([key, gradient * rate.exp()], dim=-1)


@dataclass(frozen=True)
class Update(LayerFactors):
    """One matrix's factors for E edits, and each kept token's weight in a joint solve, [E, n]."""

    token_weight: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class Tokens:
    """The kept tokens of all edits at all M matrices of one shape, one after another: N in all."""

    u: Tensor  # [N, d_in], as coordinates where keys are whitened
    delta: Tensor  # [N, d_out]
    matrix: Tensor  # [N]: the matrix each belongs to
    edit: Tensor  # [N]: the edit each belongs to


class Hypernetwork(nn.Module):
    """One ShapeNetwork per weight shape, and one learned edit rate per matrix.

    A rate is learned as its logarithm, so that it stays positive.
    `shapes` are (d_out, d_in) by module path. `token_width` is the width of what is read of an instruction's
    tokens, needed where the configuration has it read. Submodules stand in the order of an editor's file.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]], config: HyperConfig, token_width: int = 0):
        super().__init__()
        self.shapes, self.config = dict(shapes), config
        size = config.instruction
        self.reader = InstructionReader(token_width, size, config.span) if size else None
        self.strength_head = make_head("strength_head", instruction=size) if config.fitted else None
        groups: dict[tuple[int, int], list[str]] = {}
        for path, shape in self.shapes.items():
            groups.setdefault((shape[0], shape[1]), []).append(path)
        self.groups = {f"{d_out}x{d_in}": paths for (d_out, d_in), paths in groups.items()}
        self.networks = nn.ModuleDict()
        for (d_out, d_in), paths in groups.items():
            self.networks[f"{d_out}x{d_in}"] = ShapeNetwork(d_out, d_in, len(paths), config)
        # both are made from dicts, whose names a ParameterDict sorts
        counts = {key: len(paths) for key, paths in self.groups.items()}
        start = math.log(config.edit_lr)
        rates = {key: nn.Parameter(torch.full((m,), start)) for key, m in counts.items()}
        self.log_lr = nn.ParameterDict(rates)
        if config.joint:
            self.log_ridge = nn.ParameterDict({key: initial_log_ridge(m) for key, m in counts.items()})

    def forward(self, captured: Mapping[str, Captured], reading: Tensor | None = None) -> dict[str, Update]:
        """Captured tokens per module path -> factors A = u~ [E, n, d_in] and B = -lr delta~ [E, d_out, n].

        They are zero where a token is not kept. `reading` [E, instruction] is read of the instructions.
        """
        updates = {}
        for key, paths in self.groups.items():
            tokens = self._tokens(paths, captured)
            read = None if reading is None else reading.index_select(0, tokens.edit)
            u, delta, weight = self.networks[key](tokens.u, tokens.delta, tokens.matrix, read)
            delta = -self.log_lr[key].exp().index_select(0, tokens.matrix)[:, None] * delta
            sizes = [int(captured[path].kept.sum()) for path in paths]
            parts = zip(u.split(sizes), delta.split(sizes), weight.split(sizes), strict=True)
            for path, part in zip(paths, parts, strict=True):
                updates[path] = self._update(path, captured[path].kept, *part)
        return updates

    def _tokens(self, paths: Sequence[str], captured: Mapping[str, Captured]) -> Tokens:
        """The kept tokens of all matrices of one shape."""
        parts = [captured[path] for path in paths]
        keys = [self._coordinates(path, part.u[part.kept]) for path, part in zip(paths, parts, strict=True)]
        matrices = [torch.full((len(u),), m, device=u.device) for m, u in enumerate(keys)]
        edits = [part.kept.nonzero()[:, 0] for part in parts]
        deltas = [part.delta[part.kept] for part in parts]
        return Tokens(torch.cat(keys), torch.cat(deltas), torch.cat(matrices), torch.cat(edits))

    def _update(self, path: str, kept: Tensor, u: Tensor, delta: Tensor, weight: Tensor) -> Update:
        """One matrix's u~ [N, d_in], delta~ [N, d_out] and weights [N], put back where kept [E, n] says."""
        u = to_key(u, self._basis(path))
        a = u.new_zeros(*kept.shape, u.shape[1]).masked_scatter(kept[..., None], u)
        b = delta.new_zeros(*kept.shape, delta.shape[1]).masked_scatter(kept[..., None], delta)
        weight = weight.new_zeros(kept.shape).masked_scatter(kept, weight)
        return Update(A=a, B=b.transpose(1, 2), token_weight=weight)

    def _network(self, key: str) -> ShapeNetwork:
        return cast(ShapeNetwork, self.networks[key])

    def _common(self, key: str) -> Tensor:
        """The relations' directions in a group, where the configuration has them."""
        return cast(Tensor, self._network(key).common)

    def _place(self, path: str) -> tuple[str, int]:
        """The group of a matrix and its number there."""
        return next((key, paths.index(path)) for key, paths in self.groups.items() if path in paths)

    @torch.no_grad()
    def calibrate(self, batches: list[Mapping[str, Captured]]) -> None:
        """Set the normalisation statistics of u and delta from kept tokens of a sample of training edits."""
        # whitened keys are normalised already
        names = ("delta",) if self.config.whitened else ("u", "delta")
        for path in self.shapes:
            key, m = self._place(path)
            for name in names:
                rows = torch.cat([getattr(batch[path], name)[batch[path].kept] for batch in batches])
                getattr(self.networks[key], f"{name}_mean")[m] = rows.mean(0)
                getattr(self.networks[key], f"{name}_std")[m] = rows.std(0)

    # ---- beyond the paper --------------------------------------------------------------------------------

    def read(self, instructions: Instructions | None) -> Tensor | None:
        """What is read of E instructions, [E, instruction]; None where nothing is."""
        return None if self.reader is None or instructions is None else self.reader(instructions)

    def strength(self, reading: Tensor, least: Tensor) -> Tensor:
        """[E]: what to multiply the edits by, whose own prompts need `least` [E] times each (strength.py)."""
        return followed(cast(nn.Module, self.strength_head)(reading), least)

    def ridge(self, path: str) -> Tensor | None:
        """The learned (lambda, mu) of a matrix's joint solve (joint.py); None where none was learned."""
        if not self.config.joint:
            return None
        key, m = self._place(path)
        return self.log_ridge[key][m].exp()

    def _basis(self, path: str) -> Basis | None:
        """A matrix's basis (whitening.py); None where keys are read as they are."""
        key, m = self._place(path)
        return self._network(key).basis_of(m)

    def _coordinates(self, path: str, u: Tensor) -> Tensor:
        """u [n, d_in] along the matrix's basis, if it has one."""
        return to_coordinates(u, self._basis(path))

    def whiten(self, covariance: Mapping[str, Tensor]) -> None:
        """Take the bases from each matrix's mean u u^T [d_in, d_in] over the base model's own facts."""
        for path, matrix in covariance.items():
            key, m = self._place(path)
            self._network(key).whiten(m, matrix, self.config.whitened)

    def covariance(self, path: str) -> Tensor | None:
        """The regularised covariance [d_in, d_in] that a matrix was whitened by; None where it was not."""
        basis = self._basis(path)
        return None if basis is None else basis.covariance()

    def covariances(self) -> dict[str, Tensor]:
        """The covariance of every matrix that was whitened, by module path."""
        found = {path: self.covariance(path) for path in self.shapes}
        return {path: covariance for path, covariance in found.items() if covariance is not None}

    @property
    def has_common(self) -> bool:
        """Whether the relations' directions (reach.py) were found already."""
        return all(bool(self._common(key).any()) for key in self.networks)

    @torch.no_grad()
    def find_common(self, keys: Mapping[str, Sequence[Tensor]]) -> None:
        """Take the relations' directions; `keys` are per matrix the keys [n, d_in] of each relation."""
        for path, relations in keys.items():
            means = [
                self._coordinates(path, u.to(self._common(self._place(path)[0]))).mean(0) for u in relations
            ]
            directions = relation_directions(means, self.config.common)
            key, m = self._place(path)
            self._common(key)[m, : len(directions)] = directions
