"""A method whose edits come from a trained network: its files, its edits, and what a training asks of it.

The network reads the gradient of one example and says a low-rank change of each edited matrix. Which network
that is, and what it reads beside the gradient, is the subclass's.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from ..active import Live
from ..backbone import Backbone
from ..changes import Delta, LayerDelta, LayerFactors, live, patch_of
from ..joining import Joined
from ..request import EditRequest
from .base import EditMethod, Setup, summed
from .capture import Captured, EditCapture, keep_tokens, prefix_mask, request_row
from .editor_folder import (
    FORMAT_VERSION,
    WEIGHTS_FILE,
    EditorConfig,
    EditorTensors,
    is_lacking,
    read_for,
    read_tensors,
    write_config,
    write_tensors,
)
from .hyper_config import HyperConfig


class HypernetworkMethod(EditMethod):
    """A trained editor bound to its backbone.

    `covariance` [d_in, d_in] per matrix is what keys are measured against, where the method measures them.
    """

    kind = Delta
    needs_editor = True
    trained_by: ClassVar[str | None] = "meta"
    editor_in_words = "a hypernetwork that turns the gradient of one example into a low-rank weight change"
    has_directions = True
    measures_keys: ClassVar[bool] = False  # against those of the base model's own facts, before training
    default_network: ClassVar[HyperConfig] = HyperConfig()
    stored: ClassVar[torch.dtype] = torch.float16  # most of its numbers, in its folder

    config: EditorConfig
    network: Any  # an nn.Module with calibrate(batches), which sets its normalisation statistics

    def __init__(
        self,
        backbone: Backbone,
        config: EditorConfig,
        network: nn.Module,
        covariance: dict[str, Tensor] | None = None,
    ):
        self.backbone, self.config = backbone, config
        self.network = network.to(backbone.device).eval()
        self.covariance = covariance or {}

    @property
    def training_in_words(self) -> str:
        return self.config.training_in_words

    @classmethod
    @abstractmethod
    def new_network(cls, config: EditorConfig, backbone: Backbone) -> nn.Module:
        """An untrained network of the configuration."""

    @classmethod
    def adapted(cls, network: HyperConfig) -> HyperConfig:
        """A training recipe's network as this method has it."""
        return network

    @abstractmethod
    def capture(
        self,
        rows: Sequence[Joined],
        prefix_rows: bool = True,
        under: Live | None = None,
        plain: Sequence[Joined] = (),
    ) -> EditCapture:
        """What the network sees of each row's edit, on the base model or on one under `under`.

        Without `prefix_rows`, an instruction's tokens are left out of the gradient. `plain` are the same
        edits' rows without instructions.
        """

    @abstractmethod
    def updates(self, captured: EditCapture) -> Mapping[str, LayerFactors]:
        """The network's factors per edited matrix, A [E, r, d_in] and B [E, d_out, r], with gradients."""

    @abstractmethod
    def layer(self, captured: EditCapture, update: Any, path: str, i: int) -> LayerDelta:
        """Edit i of an update at one matrix, without the padding."""

    # ---- files -------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, setup: Setup) -> Self:
        return cls.from_folder(setup.backbone, cast(Path, setup.editor))  # needs_editor

    @classmethod
    def from_folder(cls, backbone: Backbone, folder: Path) -> Self:
        """Read an editor folder of this method.

        ValueError names what does not fit: missing or broken files, or a base model of other shapes.
        """
        config = read_for(folder, backbone, cls.name)
        tensors = read_tensors(folder, config)
        network = cls.new_network(config, backbone)
        initial = {name: t for name, t in network.state_dict().items() if is_lacking(name, config)}
        try:
            network.load_state_dict(initial | dict(tensors.network))
        except RuntimeError as error:
            wrong = str(error).splitlines()[-1].strip()
            raise ValueError(f"{folder / WEIGHTS_FILE} does not fit its configuration: {wrong}") from error
        return cls(backbone, config, network, dict(tensors.covariance))

    def save(self, folder: Path, covariance_rank: int = 128) -> None:
        """Write the editor's folder.

        The key covariance is stored as its leading eigenvectors; not at all where the network has a basis.
        """
        folder.mkdir(parents=True, exist_ok=True)
        covariance = {} if self.config.hyper.whitened else self.covariance
        write_tensors(
            folder, EditorTensors(self.network.state_dict(), covariance), covariance_rank, self.stored
        )
        write_config(folder, self.config.model_copy(update={"format_version": FORMAT_VERSION}))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the configuration and of every number, in the order of the network's state_dict."""
        digest = hashlib.sha256(self.config.model_dump_json(exclude={"metrics"}).encode())
        for tensor in (*self.network.state_dict().values(), *self.covariance.values()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    # ---- one edit ----------------------------------------------------------------------------------------

    def join(self, request: EditRequest) -> Joined:
        """The row whose gradient makes the edit: instruction prefix, prompt and target."""
        seen = request if self.config.instructed else request.plain()
        return request_row(self.backbone, seen, self.config.target_end, self.config.stop)

    def gradients(
        self, rows: Sequence[Joined], prefix_rows: bool = True, under: Live | None = None
    ) -> dict[str, Captured]:
        """Kept tokens (u, delta) of each row's edit gradient, per edited matrix."""
        paths = list(self.config.modules)
        inputs, grads, real = self.backbone.capture(rows, paths, under)
        prefix = prefix_mask(rows, real.shape[1]).to(real.device)
        kept = real if prefix_rows else real & ~prefix
        return {path: keep_tokens(inputs[path], grads[path], kept) for path in paths}

    def finished(self, captured: EditCapture) -> Mapping[str, LayerFactors]:
        """The updates as an edit has them; a subclass may do more to them than training sees."""
        return self.updates(captured)

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return self._propose(requests)

    def directions(self, requests: Sequence[EditRequest], prefix_rows: bool = True) -> list[Delta]:
        return self._propose(requests, prefix_rows)

    def _propose(
        self, requests: Sequence[EditRequest], prefix_rows: bool = True, under: Delta | None = None
    ) -> list[Delta]:
        """One Delta per request. `under` takes the gradient of a model that is edited already."""
        rows = [self.join(request) for request in requests]
        plain = [self.join(request.plain()) for request in requests]
        seen = live([patch_of(under)] * len(requests), self.backbone)
        captured = self.capture(rows, prefix_rows, seen, plain)
        with torch.no_grad():
            updates = self.finished(captured)
        return [
            Delta({path: self.layer(captured, update, path, i) for path, update in updates.items()})
            for i in range(len(requests))
        ]

    # ---- several edits -----------------------------------------------------------------------------------

    def combine(self, changes: Sequence[Delta]) -> Delta:
        """The sum of the edits."""
        return summed(changes)

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self._propose([request], under=before)[0]

    def stacked(
        self, captured: EditCapture, updates: Mapping[str, LayerFactors]
    ) -> Mapping[str, LayerFactors]:
        """All the captured edits as one live change, of one edit: `combine` with gradients."""
        layers = {}
        for path, update in updates.items():
            a, b = update.factors
            layers[path] = LayerFactors(A=a.flatten(0, 1)[None], B=b.transpose(1, 2).flatten(0, 1).T[None])
        return layers

    # ---- instructions ------------------------------------------------------------------------------------

    def readings(self, rows: Sequence[Joined]) -> Tensor | None:
        """What is read of the rows' instructions, [rows, size]; None where none are read."""
        return None
