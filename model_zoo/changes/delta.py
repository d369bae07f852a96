"""A weight change: `Delta` at rest (CPU, immutable), `Factors` live (on the model's device, batched, may need
grad).

Shapes follow the Linear orientation for every layer, Conv1D too: delta W is [d_out, d_in] and W' x = W x +
delta W x.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..backbone import Backbone
from .base import Change, Effect

FORMAT_VERSION = "2"
# 1 kept the request where 2 keeps the provenance; the tensors are alike
READ_VERSIONS = ("1", FORMAT_VERSION)
FILE_NAME = "delta.safetensors"


@dataclass(frozen=True, eq=False)
class LayerDelta:
    """One matrix's change: low-rank `A` [r, d_in] and `B` [d_out, r], or dense `D` [d_out, d_in]; `K` [n,
    d_in] are the inputs of the edit's kept tokens, needed to combine edits.
    """

    A: Tensor | None = None
    B: Tensor | None = None
    D: Tensor | None = None
    K: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.A is not None and self.B is not None) == (self.D is not None):
            raise ValueError("A layer's change needs either both A and B, or D alone.")
        for name, tensor in self.tensors().items():
            if tensor.ndim != 2:
                raise ValueError(f"{name} has {tensor.ndim} dimensions, and a matrix has 2.")
        if self.D is None:
            a, b = self.factors
            if a.shape[0] != b.shape[1]:
                raise ValueError(
                    f"A has {a.shape[0]} rows but B has {b.shape[1]} columns; both must be the rank r."
                )

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B) of a low-rank change; a dense one has none."""
        if self.A is None or self.B is None:
            raise ValueError("A dense change has no factors.")
        return self.A, self.B

    @property
    def keys(self) -> Tensor:
        """K, of a change that has it."""
        if self.K is None:
            raise ValueError("This change came without its keys.")
        return self.K

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)"""
        if self.D is not None:
            return self.D.shape[0], self.D.shape[1]
        a, b = self.factors
        return b.shape[0], a.shape[1]

    @property
    def rank(self) -> int:
        """Number of factors; min(d_out, d_in) for a dense change."""
        return min(self.shape) if self.D is not None else self.factors[0].shape[0]

    def dense(self) -> Tensor:
        if self.D is not None:
            return self.D
        a, b = self.factors
        return b @ a

    def norm(self) -> float:
        """Frobenius norm; from Gram matrices when low-rank, so nothing of size d_out x d_in is made."""
        if self.D is not None:
            return self.D.norm().item()
        a, b = self.factors
        return math.sqrt(max(((b.T @ b) * (a @ a.T)).sum().item(), 0.0))

    def scaled(self, strength: float) -> "LayerDelta":
        if self.D is not None:
            return replace(self, D=self.D * strength)
        return replace(self, B=self.factors[1] * strength)

    def tensors(self) -> dict[str, Tensor]:
        return {name: t for name in "ABDK" if (t := getattr(self, name)) is not None}


def _cpu(layer: LayerDelta) -> LayerDelta:
    return LayerDelta(
        **{name: t.detach().to("cpu", torch.float32).contiguous() for name, t in layer.tensors().items()}
    )


@dataclass(frozen=True, eq=False)
class Delta(Change):
    """An immutable weight change: layers by module path."""

    layers: Mapping[str, LayerDelta]

    kind: ClassVar[str] = "weights"
    title: ClassVar[str] = "a weight change"
    has_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        layers = {path: _cpu(layer) for path, layer in self.layers.items()}
        object.__setattr__(self, "layers", MappingProxyType(layers))

    def __reduce__(self):
        # mappingproxy does not pickle; bytes also cross process borders without shared-memory handles
        return Delta.from_bytes, (self.to_bytes(),)

    @property
    def rank(self) -> int:
        return max((layer.rank for layer in self.layers.values()), default=0)

    @property
    def numbers(self) -> int:
        """Those of the change itself, without its keys."""
        kept = [t for layer in self.layers.values() for name, t in layer.tensors().items() if name != "K"]
        return sum(tensor.numel() for tensor in kept)

    def norms(self) -> dict[str, float]:
        """Frobenius norm of the change per module path."""
        return {path: layer.norm() for path, layer in self.layers.items()}

    def scaled(self, strength: float) -> "Delta":
        """Edit strength: every layer times `strength`; 0 is the base model."""
        return Delta({path: layer.scaled(strength) for path, layer in self.layers.items()})

    def effects(self, backbone: Backbone) -> tuple[Effect, ...]:
        def effect(path: str, layer: LayerDelta) -> Effect:
            norm = layer.norm()
            return Effect(path, layer.rank, norm, norm / backbone.weight(path).float().norm().item())

        return tuple(effect(path, layer) for path, layer in self.layers.items())

    def in_words(self) -> str:
        return f"changes {len(self.layers)} matrices by rank {self.rank} at most"

    @classmethod
    def live(cls, changes: Sequence["Delta"], row_to_change: Sequence[int], backbone: Backbone) -> "Factors":
        return Factors.of(changes, row_to_change, backbone.device)

    # ---- as bytes and files --------------------------------------------------------------------------------

    def to_bytes(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """A safetensors file; `provenance` is plain JSON data: which edits of which model these are."""
        tensors = {
            f"{path}.{name}": t for path, layer in self.layers.items() for name, t in layer.tensors().items()
        }
        told = json.dumps(dict(provenance or {}), ensure_ascii=False)
        return save(tensors, metadata={"format_version": FORMAT_VERSION, "provenance": told})

    def save(self, folder: str | Path, provenance: Mapping[str, Any] | None = None) -> Path:
        """Write `delta.safetensors` into a folder (made if missing) and return its path."""
        path = Path(folder) / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.to_bytes(provenance))
        return path

    @staticmethod
    def load(path: str | Path) -> "Delta":
        """Read a delta file; ValueError says what is wrong with one that is not ours."""
        try:
            return Delta.from_bytes(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a delta file: {error}") from error

    @staticmethod
    def from_bytes(data: bytes) -> "Delta":
        """The inverse of `to_bytes`."""
        try:
            flat = load(data)
            # safetensors: u64 size, JSON header, tensor bytes
            header_size = int.from_bytes(data[:8], "little")
            meta = json.loads(data[8 : 8 + header_size]).get("__metadata__", {})
        except SafetensorError as error:
            raise ValueError(f"not a whole safetensors file ({error})") from error
        if meta.get("format_version") not in READ_VERSIONS:
            found = meta.get("format_version")
            raise ValueError(
                f"found delta format {found}, this program reads format {' and '.join(READ_VERSIONS)}"
            )
        layers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in flat.items():
            module, _, name = key.rpartition(".")
            if name not in set("ABDK") or not module:
                raise ValueError(f"found a tensor named '{key}', expected <module path>.A, .B, .D or .K")
            layers.setdefault(module, {})[name] = tensor
        return Delta({module: LayerDelta(**tensors) for module, tensors in layers.items()})


def concatenate(deltas: Sequence[Delta]) -> Delta:
    """The sum of deltas: factors side by side; dense once their rank passes d_in d_out / (d_in + d_out), then
    smaller. It has keys where all of them have.
    """
    layers: dict[str, LayerDelta] = {}
    for path in dict.fromkeys(p for d in deltas for p in d.layers):
        parts = [d.layers[path] for d in deltas if path in d.layers]
        d_out, d_in = parts[0].shape
        keys = [part.K for part in parts if part.K is not None]
        k = torch.cat(keys) if len(keys) == len(parts) else None
        if any(p.D is not None for p in parts) or sum(p.rank for p in parts) > d_in * d_out / (d_in + d_out):
            layers[path] = LayerDelta(D=torch.stack([p.dense() for p in parts]).sum(0), K=k)
        else:
            a, b = zip(*(p.factors for p in parts), strict=True)
            layers[path] = LayerDelta(A=torch.cat(a), B=torch.cat(b, dim=1), K=k)
    return Delta(layers)


@dataclass(frozen=True, eq=False)
class LayerFactors:
    """Live form of one matrix for E edits: A [E, r, d_in] and B [E, d_out, r], zero-padded in r; or D [E,
    d_out, d_in].
    """

    A: Tensor | None = None
    B: Tensor | None = None
    D: Tensor | None = None

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B) of low-rank changes; dense ones have none."""
        if self.A is None or self.B is None:
            raise ValueError("Dense changes have no factors.")
        return self.A, self.B


@dataclass(frozen=True, eq=False)
class Factors:
    """What the hooks read. `row_to_edit` [rows]: which edit each row of the batch sees, -1 for the base
    model.
    """

    layers: Mapping[str, LayerFactors]
    row_to_edit: Tensor

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        """A linear's new output for its input x [rows, T, d_in] and its own output y; None where nothing is
        edited.
        """
        change = self.added(path, x)
        return None if change is None else y + change

    def added(self, path: str, x: Tensor) -> Tensor | None:
        """What the edits add to a linear's output for its input x [rows, T, d_in]; None where nothing is
        edited.
        """
        layer = self.layers.get(path)
        if layer is None:
            return None
        rows = self.row_to_edit.to(x.device)
        assert rows.shape[0] == x.shape[0], f"{x.shape[0]} rows in the batch, {rows.shape[0]} in row_to_edit"
        pick, on = rows.clamp(min=0), (rows >= 0).to(torch.float32)[:, None, None]

        def of_rows(t: Tensor) -> Tensor:
            """[E, a, b] -> [rows, b, a], on x's device, which for a model spread over several GPUs is not
            always the factors'. index_select, not [pick]: its backward adds up in a fixed order, so training
            can be repeated exactly.
            """
            return t.to(x.device).index_select(0, pick).transpose(1, 2)

        wide = x.float()
        if layer.D is None:
            a, b = layer.factors
            return ((wide @ of_rows(a)) @ of_rows(b) * on).to(x.dtype)
        change = wide.new_zeros(*x.shape[:-1], layer.D.shape[1])
        for edit in rows[rows >= 0].unique().tolist():  # a copy of D per row would not fit
            own = rows == edit
            change[own] = wide[own] @ layer.D[edit].to(x.device).T
        return change.to(x.dtype)

    @staticmethod
    def of(
        deltas: Sequence[Delta], row_to_edit: Iterable[int], device: torch.device | str = "cpu"
    ) -> "Factors":
        """Deltas as batched factors; row i of the batch sees deltas[row_to_edit[i]]."""
        layers = {}
        for path in dict.fromkeys(p for d in deltas for p in d.layers):
            parts = [d.layers.get(path) for d in deltas]
            shape = next(p.shape for p in parts if p is not None)
            if any(p is not None and p.D is not None for p in parts):
                dense = torch.stack([torch.zeros(shape) if part is None else part.dense() for part in parts])
                layers[path] = LayerFactors(D=dense.to(device))
            else:
                layers[path] = _padded(parts, shape, device)
        return Factors(layers, torch.as_tensor(list(row_to_edit), dtype=torch.long))


def _padded(
    parts: Sequence[LayerDelta | None], shape: tuple[int, int], device: torch.device | str
) -> LayerFactors:
    rank = max(p.rank for p in parts if p is not None)
    a = torch.zeros(len(parts), rank, shape[1])
    b = torch.zeros(len(parts), shape[0], rank)
    for i, part in enumerate(parts):
        if part is not None:
            a[i, : part.rank], b[i, :, : part.rank] = part.factors
    return LayerFactors(A=a.to(device), B=b.to(device))
