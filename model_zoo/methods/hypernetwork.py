"""The MEND hypernetwork (Mitchell et al. 2022, arXiv 2110.11309) that InstructEdit trains over instructed edits of several tasks.

For each edited matrix and kept token it maps (u, delta), the input and the output gradient, to (u~, delta~); the update is
delta W = -lr * sum_t delta~_t u~_t^T. The sign is that of gradient descent, so an untrained editor already points downhill.

Beyond MEND a network may be `whitened`: u is read, and u~ written, along the principal directions of the base model's own keys, each in
units of its spread. Then u~ begins as u (C + share I)^-1, which answers to u and little to what prompts have in common (the least-squares
key of ROME, Meng et al. 2022, arXiv 2202.05262).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ..delta import LayerFactors
from .instruction import InstructionReader, Instructions, silent
from .ridge import LAMBDA, MU

LATER_HEADS = ("keep", "stretch")  # which editors of format 2 lack; silent, they change nothing
FAST_HEADS = ("fit", "reach", *LATER_HEADS)  # few numbers that size whole edits: they learn at the rate of the edit rates
MAX_LOG_SAY = 4.0  # a token may count e^4 times as much, or as little, as another


class HyperConfig(BaseModel):
    """Hyperparameters of the network. Two residual layers as in MEND; rank and learning rates as measured here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(256, ge=1, description="width of each residual layer's bottleneck")
    layers: int = Field(2, ge=1, description="residual layers")
    edit_lr: float = Field(3e-4, gt=0, description="initial edit learning rate of every matrix")
    instruction: int = Field(0, ge=0, description="size of the vector read from the instruction; 0: the prefix alone, as in the paper")
    span: int = Field(1, ge=1, description="tokens in a row whose order is read of an instruction; 1: the words alone")
    whitened: float = Field(
        0.0,
        ge=0,
        description="read and write keys along the base's own principal ones, eigenvalues raised by this share of their mean; 0: as they are",
    )
    common: int = Field(
        0,
        ge=0,
        description="directions that keys of a relation share: an instruction may send a whitened edit along them, beside some of its own key",
    )
    joint: bool = Field(False, description="learn how edits are solved together: ridge strengths and each token's say")
    fitted: bool = Field(False, description="an instruction says how far an edit's strength follows what its own prompt needs")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "HyperConfig":
        if self.common and not (self.whitened and self.instruction):
            raise ValueError(f"common={self.common} needs whitened keys and an instruction that is read; set both, or leave it at 0.")
        if (self.fitted or self.span > 1) and not self.instruction:
            raise ValueError("fitted=True and a span over 1 need an instruction that is read; set its size, or leave them at False and 1.")
        return self

    @property
    def blind(self) -> "HyperConfig":
        """The same without what reads an instruction."""
        return self.model_copy(update={"instruction": 0, "span": 1, "common": 0, "fitted": False})


@dataclass(frozen=True)
class Captured:
    """Kept tokens of E edits for one matrix, zero-padded: u [E, n, d_in], delta [E, n, d_out], kept [E, n] bool."""

    u: Tensor
    delta: Tensor
    kept: Tensor


def keep_tokens(u: Tensor, delta: Tensor, real: Tensor) -> Captured:
    """Pack the tokens where both u and delta are not all zero to the front: a zero row would normalise to a non-zero one."""
    kept = real & (u != 0).any(-1) & (delta != 0).any(-1)
    order = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)[:, : max(int(kept.sum(1).max()), 1)]
    mask = kept.gather(1, order)
    packed = [t.gather(1, order[..., None].expand(-1, -1, t.shape[-1])) * mask[..., None] for t in (u, delta)]
    return Captured(packed[0], packed[1], mask)


class ResidualLayer(nn.Module):
    """h <- clamp(scale_m * (A (B h) + b) + shift_m, min=0) + h, with scale and shift per matrix m. A starts at zero.

    An instruction vector, if one is read, is added to scale and shift through a linear map each."""

    def __init__(self, width: int, rank: int, matrices: int, instruction: int = 0):
        super().__init__()
        rank = min(rank, width)
        self.A = nn.Parameter(torch.zeros(rank, width))
        self.B = nn.Parameter(torch.randn(width, rank) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(matrices, width))
        self.shift = nn.Parameter(torch.zeros(matrices, width))
        if instruction:
            self.rescale, self.reshift = silent(instruction, width), silent(instruction, width)

    def forward(self, h: Tensor, matrix: Tensor, read: Tensor | None = None) -> Tensor:
        """h [N, width], matrix [N], read [N, instruction] -> [N, width]"""
        scale, shift = self.scale.index_select(0, matrix), self.shift.index_select(0, matrix)
        if read is not None:
            scale, shift = scale + self.rescale(read), shift + self.reshift(read)
        return (scale * ((h @ self.B) @ self.A + self.bias) + shift).clamp(min=0) + h


class ShapeNetwork(nn.Module):
    """The network shared by all edited matrices of one shape. What is read of an instruction modulates its layers, gates its
    output and scales the edit rate; `say` weighs the tokens in a joint solve."""

    def __init__(self, d_out: int, d_in: int, matrices: int, config: HyperConfig):
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        for name, width in (("u", d_in), ("delta", d_out)):
            self.register_buffer(f"{name}_mean", torch.zeros(matrices, width))
            self.register_buffer(f"{name}_std", torch.ones(matrices, width))
        if config.whitened:
            self.register_buffer("basis", torch.zeros(matrices, d_in, d_in))
        if config.common:
            self.register_buffer("common", torch.zeros(matrices, config.common, d_in))
            self.reach, self.keep = silent(config.instruction, matrices), silent(config.instruction, matrices)
            self.stretch = silent(config.common, matrices)
        width = d_in + d_out
        self.layers = nn.ModuleList(ResidualLayer(width, config.rank, matrices, config.instruction) for _ in range(config.layers))
        if config.instruction:
            self.gate, self.rate = silent(config.instruction, width), silent(config.instruction, matrices)
        if config.joint:
            self.say = silent(width, 1)

    def _reaching(self, own: Tensor, u: Tensor, matrix: Tensor, read: Tensor) -> Tensor:
        """The written key `own` [N, d_in], less of it or more, and u's projection on what the relations' mean keys span, made as long as a
        key, as far as the instruction reaches and the relation needs."""
        if not hasattr(self, "common"):
            return own
        index, shared, along = matrix[:, None], torch.empty_like(u), u.new_empty(len(u), self.common.shape[1])
        for m, directions in enumerate(self.common):
            here = matrix == m
            along[here] = torch.nn.functional.normalize(u[here] @ directions.T, dim=-1)
            shared[here] = along[here] @ directions * self.d_in**0.5
        reach = self.reach(read).gather(1, index) * self.stretch(along).gather(1, index).exp()
        return self.keep(read).gather(1, index).exp() * own + reach * shared

    def forward(self, u: Tensor, delta: Tensor, matrix: Tensor, read: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """u [N, d_in], delta [N, d_out], matrix [N], read [N, instruction] -> (u~, delta~) of the same shapes, and each token's say [N]."""
        u = (u - self.u_mean[matrix]) / (self.u_std[matrix] + 1e-7)
        # gradients are small numbers: the guard must stay far below their spread
        delta = (delta - self.delta_mean[matrix]) / (self.delta_std[matrix] + 1e-12)
        h = torch.cat([u, delta], dim=-1)
        for layer in self.layers:
            h = layer(h, matrix, read)
        say = self.say(h)[:, 0].clamp(-MAX_LOG_SAY, MAX_LOG_SAY).exp() if hasattr(self, "say") else h.new_ones(len(h))
        if read is not None:
            rate = self.rate(read).gather(1, matrix[:, None])
            h = h * (1 + self.gate(read))
            h = torch.cat([self._reaching(h[:, : self.d_in], u, matrix, read), h[:, self.d_in :] * rate.exp()], dim=-1)
        return *h.split([self.d_in, self.d_out], dim=-1), say


@dataclass(frozen=True)
class Update(LayerFactors):
    """One matrix's factors for E edits, with each kept token's say in a joint solve, [E, n]."""

    say: Tensor | None = None


class Hypernetwork(nn.Module):
    """One ShapeNetwork per weight shape and one learned edit rate per matrix (as its logarithm: it stays positive).

    `token_width` is the width of what is read of an instruction's tokens, needed where the configuration has it read."""

    def __init__(self, shapes: Mapping[str, tuple[int, int]], config: HyperConfig, token_width: int = 0):
        super().__init__()
        self.shapes, self.config = dict(shapes), config
        self.reader = InstructionReader(token_width, config.instruction, config.span) if config.instruction else None
        self.fit = silent(config.instruction, 2) if config.fitted else None
        groups: dict[tuple[int, int], list[str]] = {}
        for path, shape in self.shapes.items():
            groups.setdefault(tuple(shape), []).append(path)
        self.groups = {f"{d_out}x{d_in}": paths for (d_out, d_in), paths in groups.items()}
        self.networks = nn.ModuleDict({f"{s[0]}x{s[1]}": ShapeNetwork(*s, len(paths), config) for s, paths in groups.items()})
        self.log_lr = nn.ParameterDict({key: nn.Parameter(torch.full((len(paths),), math.log(config.edit_lr))) for key, paths in self.groups.items()})

        if config.joint:
            # (lambda, mu) of each matrix's joint solve, as logarithms
            start = torch.tensor([LAMBDA, MU]).log()
            self.log_ridge = nn.ParameterDict({key: nn.Parameter(start.repeat(len(paths), 1)) for key, paths in self.groups.items()})

    def _place(self, path: str) -> tuple[str, int]:
        """The group of a matrix and its number there."""
        return next((key, paths.index(path)) for key, paths in self.groups.items() if path in paths)

    def ridge(self, path: str) -> Tensor | None:
        """The learned (lambda, mu) of a matrix's joint solve; None where none was learned."""
        if not self.config.joint:
            return None
        key, m = self._place(path)
        return self.log_ridge[key][m].exp()

    def _basis(self, path: str) -> Tensor | None:
        """[d_in, d_in]: in columns the principal directions of the base's keys, each over (eigenvalue + share)^1/2."""
        if not self.config.whitened:
            return None
        key, m = self._place(path)
        return self.networks[key].basis[m]

    def _coordinates(self, path: str, u: Tensor) -> Tensor:
        """u [n, d_in] along the basis, every key as long as the next: those of a subject's own tokens are far from all others."""
        basis = self._basis(path)
        return u if basis is None else torch.nn.functional.normalize(u @ basis, dim=-1) * u.shape[-1] ** 0.5

    def _direction(self, path: str, coordinates: Tensor) -> Tensor:
        """From coordinates to a factor: u (C + share I)^-1 for those of u itself, what tells u best from the base's own keys."""
        basis = self._basis(path)
        return coordinates if basis is None else coordinates @ basis.T

    @property
    def has_common(self) -> bool:
        """Whether the relations' directions were found already."""
        return all(bool(network.common.any()) for network in self.networks.values())

    @torch.no_grad()
    def find_common(self, keys: Mapping[str, Sequence[Tensor]]) -> None:
        """Take the leading directions of the relations' mean keys; `keys` are per matrix the keys [n, d_in] of each relation."""
        for path, relations in keys.items():
            means = torch.stack([self._coordinates(path, u.to(self._basis(path))).mean(0) for u in relations])
            directions = torch.linalg.svd(means, full_matrices=False).Vh[: self.config.common]
            key, m = self._place(path)
            self.networks[key].common[m, : len(directions)] = directions

    def whiten(self, covariance: Mapping[str, Tensor]) -> None:
        """Take the principal directions from each matrix's mean u u^T [d_in, d_in] over the base model's own facts."""
        for path, matrix in covariance.items():
            basis = self._basis(path)
            if basis is not None:
                values, vectors = torch.linalg.eigh(matrix.double())
                basis.copy_(vectors * (values.clamp(min=0) + self.config.whitened * values.mean()).rsqrt())

    def covariance(self, path: str) -> Tensor | None:
        """C + share I, as it was whitened by; None where keys are read as they are."""
        basis = self._basis(path)
        return None if basis is None else torch.linalg.inv(basis.double() @ basis.double().T).float()

    def read(self, instructions: Instructions | None) -> Tensor | None:
        """What is read of E instructions, [E, instruction]; None where nothing is."""
        return None if self.reader is None or instructions is None else self.reader(instructions)

    def strength(self, reading: Tensor, least: Tensor) -> Tensor:
        """[E]: what to multiply each edit by, when its own prompt needs it at `least` [E] times its size: least^a e^b, with a and b as the
        instruction says (both begin at 0). a counts as no less than 0 and no more than 1, where the measure is followed to the letter."""
        follow, beyond = self.fit(reading).unbind(1)
        return (follow.clamp(0, 1) * least.log() + beyond).exp()

    def forward(self, captured: Mapping[str, Captured], reading: Tensor | None = None) -> dict[str, Update]:
        """Captured tokens per module path and what was read of the instructions -> factors A = u~ [E, n, d_in],
        B = -lr delta~ [E, d_out, n], zero where not kept."""
        factors = {}
        for key, paths in self.groups.items():
            parts = [captured[path] for path in paths]
            matrix = torch.cat([torch.full((int(part.kept.sum()),), m, device=part.u.device) for m, part in enumerate(parts)])
            u = torch.cat([self._coordinates(path, part.u[part.kept]) for path, part in zip(paths, parts, strict=True)])
            delta = torch.cat([part.delta[part.kept] for part in parts])
            edit = torch.cat([part.kept.nonzero()[:, 0] for part in parts])
            read = None if reading is None else reading.index_select(0, edit)
            u, delta, say = self.networks[key](u, delta, matrix, read)
            delta = -self.log_lr[key].exp().index_select(0, matrix)[:, None] * delta
            sizes = [int(part.kept.sum()) for part in parts]
            for path, part, u_m, delta_m, say_m in zip(paths, parts, u.split(sizes), delta.split(sizes), say.split(sizes), strict=True):
                a = torch.zeros_like(part.u).masked_scatter(part.kept[..., None], self._direction(path, u_m))
                b = torch.zeros_like(part.delta).masked_scatter(part.kept[..., None], delta_m)
                weight = torch.zeros_like(part.kept, dtype=a.dtype).masked_scatter(part.kept, say_m)
                factors[path] = Update(A=a, B=b.transpose(1, 2), say=weight)
        return factors

    @torch.no_grad()
    def calibrate(self, batches: list[Mapping[str, Captured]]) -> None:
        """Set the normalisation statistics of u and delta from kept tokens of a sample of training edits."""
        for key, paths in self.groups.items():
            network = self.networks[key]
            for m, path in enumerate(paths):
                for name in ("u", "delta"):
                    rows = torch.cat([getattr(batch[path], name)[batch[path].kept] for batch in batches])
                    if name == "u" and self.config.whitened:
                        continue  # whitened is normalised
                    getattr(network, f"{name}_mean")[m] = rows.mean(0)
                    getattr(network, f"{name}_std")[m] = rows.std(0)
