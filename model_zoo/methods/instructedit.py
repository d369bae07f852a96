"""InstructEdit (Zhang et al. 2024, arXiv 2402.16123): one editor per model, told what to do in words.

The edit's gradient is taken on `Task / Description / Input` + target, so the instruction shapes what the
hypernetwork sees. A request whose instruction is None is a MEND edit through the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..active import Live
from ..backbone import Backbone
from ..changes import Delta, LayerDelta, LayerFactors
from ..joining import Joined
from .capture import EditCapture, embedded, token_width
from .editor_folder import EditorConfig
from .hypernetwork import Hypernetwork, Update
from .hypernetwork_method import HypernetworkMethod
from .instruction import Instructions
from .ridge import correct, corrected, dense_solution, penalty, solve
from .strength import least_strengths


class InstructEdit(HypernetworkMethod):
    """A trained editor bound to its backbone.

    `covariance` [d_in, d_in] per matrix is the C of the joint solve (ridge.py).
    """

    name = "instructedit"
    pretty_name = "InstructEdit"
    reference_url = "https://arxiv.org/abs/2402.16123"
    reads_instruction = True
    measures_keys = True

    network: Hypernetwork

    @classmethod
    def new_network(cls, config: EditorConfig, backbone: Backbone) -> Hypernetwork:
        return Hypernetwork(config.modules, config.hyper, token_width(backbone))

    @classmethod
    def from_folder(cls, backbone: Backbone, folder: Path) -> Self:
        editor = super().from_folder(backbone, folder)
        if editor.config.hyper.whitened:
            editor.covariance = editor.network.covariances()
        return editor

    # ---- one edit ----------------------------------------------------------------------------------------

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
        asked = rows if self.config.hyper.prefixed or not plain else plain
        layers = self.gradients(asked, prefix_rows, under)
        reads = self.network.reader is not None and any(row.prefix for row in rows)
        return EditCapture(layers, self.instructions(rows) if reads else None, plain)

    def readings(self, rows: Sequence[Joined]) -> Tensor | None:
        return None if self.network.reader is None else self.network.reader(self.instructions(rows))

    def instructions(self, rows: Sequence[Joined]) -> Instructions:
        """What is read of the rows' instructions."""
        return Instructions(*embedded(self.backbone, [row.ids[: row.prefix] for row in rows]))

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

    def finished(self, captured: EditCapture) -> dict[str, Update]:
        """The updates, those that do not say their target yet as strong as that takes, if they are to be."""
        updates = self.updates(captured)
        if not self.config.hyper.assured:
            return updates
        return _stronger(updates, least_strengths(self.backbone, captured.plain, updates).clamp(min=1.0))

    def layer(self, captured: EditCapture, update: Update, path: str, i: int) -> LayerDelta:
        """Edit i of an update at one matrix, without padding; its keys K scaled by their tokens' weights."""
        part = captured.layers[path]
        kept = part.kept[i]
        keys = part.u[i][kept] * update.token_weight[i][kept][:, None]
        a, b = update.factors
        return LayerDelta(A=a[i][kept], B=b[i][:, kept], K=keys)

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

    def stacked(self, captured: EditCapture, updates: Mapping[str, Any]) -> dict[str, LayerFactors]:
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
