"""InstructEdit (Zhang et al. 2024, arXiv 2402.16123): one editor per model, told what to do in words.

The edit's gradient is taken on `Task / Description / Input` + target, so the instruction shapes what the
hypernetwork sees. A request whose instruction is None is a MEND edit through the same code.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ..active import Live
from ..backbone import Backbone
from ..changes import Delta, LayerDelta, LayerFactors, live, patch_of
from ..joining import Joined
from ..request import EditRequest
from .base import EditMethod, Setup
from .capture import EditCapture, keep_tokens, prefix_mask, request_row, token_width
from .editor_folder import (
    FORMAT_VERSION,
    WEIGHTS_FILE,
    EditorConfig,
    EditorTensors,
    check_base,
    check_format,
    is_lacking,
    read_config,
    read_tensors,
    write_config,
    write_tensors,
)
from .hypernetwork import Hypernetwork, Update
from .instruction import Instructions
from .ridge import correct, corrected, dense_solution, penalty, solve
from .strength import least_strengths


class InstructEdit(EditMethod):
    """A trained editor bound to its backbone.

    `covariance` [d_in, d_in] per matrix is the C of the joint solve (ridge.py).
    """

    name = "instructedit"
    pretty_name = "InstructEdit"
    reference_url = "https://arxiv.org/abs/2402.16123"
    kind = Delta
    needs_editor = True
    reads_instruction = True
    has_directions = True

    def __init__(
        self,
        backbone: Backbone,
        config: EditorConfig,
        network: Hypernetwork,
        covariance: dict[str, Tensor] | None = None,
    ):
        self.backbone, self.config = backbone, config
        self.network = network.to(backbone.device).eval()
        self.covariance = covariance or {}

    # ---- files -------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, setup: Setup) -> "InstructEdit":
        return cls.from_folder(setup.backbone, cast(Path, setup.editor))  # needs_editor

    @classmethod
    def from_folder(cls, backbone: Backbone, folder: Path) -> "InstructEdit":
        """Read an editor folder of this method.

        ValueError names what does not fit: missing or broken files, or a base model of other shapes.
        """
        config = read_config(folder)
        check_base(config, backbone, folder)
        if config.method != cls.name:
            raise ValueError(
                f"The editor in {folder} was trained for the method {config.method}, "
                f"and {cls.name} was asked for."
            )
        check_format(config, folder)
        tensors = read_tensors(folder, config)
        network = Hypernetwork(config.modules, config.hyper, token_width(backbone))
        initial = {name: t for name, t in network.state_dict().items() if is_lacking(name, config)}
        try:
            network.load_state_dict(initial | dict(tensors.network))
        except RuntimeError as error:
            wrong = str(error).splitlines()[-1].strip()
            raise ValueError(f"{folder / WEIGHTS_FILE} does not fit its configuration: {wrong}") from error
        covariance = dict(tensors.covariance)
        if config.hyper.whitened:
            covariance = network.covariances()
        return cls(backbone, config, network, covariance)

    def save(self, folder: Path, covariance_rank: int = 128) -> None:
        """Write the editor's folder.

        The key covariance is stored as its leading eigenvectors; not at all where the network has a basis.
        """
        folder.mkdir(parents=True, exist_ok=True)
        covariance = {} if self.config.hyper.whitened else self.covariance
        write_tensors(folder, EditorTensors(self.network.state_dict(), covariance), covariance_rank)
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

    def capture(
        self,
        rows: Sequence[Joined],
        prefix_rows: bool = True,
        under: Live | None = None,
        plain: Sequence[Joined] = (),
    ) -> EditCapture:
        """Kept tokens (u, delta) of each row's edit gradient, on the base model or on one under `under`.

        Without `prefix_rows`, those of the instruction are left out. `plain` are the same edits' rows without
        instructions; the gradient is theirs where the network is not `prefixed`.
        """
        paths = list(self.config.modules)
        asked = rows if self.config.hyper.prefixed or not plain else plain
        inputs, grads, real = self.backbone.capture(asked, paths, under)
        prefix = prefix_mask(asked, real.shape[1]).to(real.device)
        kept = real if prefix_rows else real & ~prefix
        layers = {path: keep_tokens(inputs[path], grads[path], kept) for path in paths}
        reads = self.network.reader is not None and any(row.prefix for row in rows)
        return EditCapture(layers, self.instructions(rows) if reads else None, plain)

    @torch.no_grad()
    def instructions(self, rows: Sequence[Joined]) -> Instructions:
        """What is read of the rows' instructions."""
        n = max(row.prefix for row in rows)
        ids = torch.zeros(len(rows), n, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : row.prefix] = torch.tensor(row.ids[: row.prefix])
        device = self.backbone.device
        embedded = self.backbone.model.get_input_embeddings()(ids.to(device)).float()
        return Instructions(embedded, prefix_mask(rows, n).to(device))

    def updates(self, captured: EditCapture) -> dict[str, Update]:
        """The network's factors per edited matrix, A [E, n, d_in] and B [E, d_out, n].

        Where the network has a strength head and an instruction is read, they are as strong as it says, after
        what the edits need alone on the base model.
        """
        reading = self.network.read(captured.instructions)
        updates = self.network(captured.layers, reading)
        if self.network.strength_head is None or reading is None:
            return updates
        least = least_strengths(self.backbone, captured.plain, updates).to(reading.device)
        return _stronger(updates, self.network.strength(reading, least))

    def _assured(self, captured: EditCapture, updates: dict[str, Update]) -> dict[str, Update]:
        """The updates, those that do not say their target yet as strong as that takes, if they are to be."""
        if not self.config.hyper.assured:
            return updates
        return _stronger(updates, least_strengths(self.backbone, captured.plain, updates).clamp(min=1.0))

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
            updates = self._assured(captured, self.updates(captured))
        return [
            Delta({path: _layer_of_edit(update, captured, path, i) for path, update in updates.items()})
            for i in range(len(requests))
        ]

    # ---- several edits -----------------------------------------------------------------------------------

    def ridge(self, path: str) -> tuple[Tensor | float, Tensor | float]:
        """(lambda, mu) of a matrix's joint solve."""
        learned = self.network.ridge(path)
        if learned is None:
            return self.config.ridge_lambda, self.config.ridge_mu
        lam, mu = learned.unbind()
        return lam, mu

    def combine(self, changes: Sequence[Delta]) -> Delta:
        """A single edit is itself; several are solved jointly per matrix."""
        if len(changes) == 1:
            return changes[0]
        with torch.no_grad():
            return Delta(
                {path: self._joint(path, [c.layers[path] for c in changes]) for path in self.config.modules}
            )

    def _joint(self, path: str, parts: Sequence[LayerDelta]) -> LayerDelta:
        lam, mu = (float(strength) for strength in self.ridge(path))
        if self.config.hyper.corrected:
            return correct(parts, lam)
        return solve(parts, self.covariance.get(path), lam, mu)

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self._propose([request], under=before)[0]

    def stacked(self, captured: EditCapture, updates: dict[str, Update]) -> dict[str, LayerFactors]:
        """All the captured edits solved jointly as one live change, of one edit.

        This is `combine` with gradients, for training through the solve.
        """
        layers = {}
        for path, update in updates.items():
            part = captured.layers[path]
            kept, weight = part.kept, update.token_weight.double()[part.kept][:, None]
            a, b = (factor.double() for factor in update.factors)
            # [E, n, d_out]
            alone = part.u.double() @ a.transpose(1, 2) @ b.transpose(1, 2)
            keys, outputs = weight * part.u.double()[kept], weight * alone[kept]
            if self.config.hyper.corrected:
                own, said = a[kept], b.transpose(1, 2)[kept].T
                said = corrected(keys, outputs, own, said, self.ridge(path)[0])
                layers[path] = LayerFactors(A=own.float()[None], B=said.float()[None])
            else:
                ridge = penalty(keys, self.covariance.get(path), *self.ridge(path))
                layers[path] = LayerFactors(D=dense_solution(keys, outputs, ridge).float()[None])
        return layers


def _stronger(updates: dict[str, Update], strength: Tensor) -> dict[str, Update]:
    """The updates of E edits, each `strength` [E] times as strong."""
    return {
        path: replace(update, B=update.factors[1] * strength[:, None, None].to(update.factors[1]))
        for path, update in updates.items()
    }


def _layer_of_edit(update: Update, captured: EditCapture, path: str, i: int) -> LayerDelta:
    """Edit i of an update at one matrix, without the padding; its keys K scaled by their tokens' weights."""
    part = captured.layers[path]
    kept = part.kept[i]
    keys = part.u[i][kept] * update.token_weight[i][kept][:, None]
    a, b = update.factors
    return LayerDelta(A=a[i][kept], B=b[i][:, kept], K=keys)
