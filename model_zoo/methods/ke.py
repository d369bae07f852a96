"""KE, the KnowledgeEditor (De Cao, Aziz, Titov 2021, arXiv 2104.08164): a network that reads the edit's text
and gates the edit's gradient by it (ke_network.py).

The paper makes one edit at a time; several live together as their sum. It holds what should stay to a KL
divergence below a margin by Lagrangian relaxation; the training here weighs that divergence by c_loc instead,
as it does for the other trained methods, which keeps them comparable.
"""

from collections.abc import Sequence

import torch

from ..active import Live
from ..backbone import Backbone
from ..changes import LayerDelta, LayerFactors
from ..joining import Joined
from .capture import EditCapture, EditText, embedded, token_width
from .editor_folder import EditorConfig
from .hyper_config import HyperConfig
from .hypernetwork_method import HypernetworkMethod
from .ke_network import KENetwork


class KE(HypernetworkMethod):
    """A trained KnowledgeEditor."""

    name = "ke"
    pretty_name = "KE (KnowledgeEditor)"
    reference_url = "https://arxiv.org/abs/2104.08164"
    # smaller than the paper's, an LSTM of 128 and 1024 numbers behind it
    default_network = HyperConfig(rank=80, lstm=64, edit_lr=1e-3)

    network: KENetwork

    @classmethod
    def new_network(cls, config: EditorConfig, backbone: Backbone) -> KENetwork:
        return KENetwork(config.modules, config.hyper, token_width(backbone))

    @classmethod
    def adapted(cls, network: HyperConfig) -> HyperConfig:
        """Its own: what recipes say of their networks is said of another one."""
        return cls.default_network

    def capture(
        self,
        rows: Sequence[Joined],
        prefix_rows: bool = True,
        under: Live | None = None,
        plain: Sequence[Joined] = (),
    ) -> EditCapture:
        """Kept tokens (u, delta) of each row's edit gradient, and the row's text."""
        return EditCapture(self.gradients(rows, prefix_rows, under), plain=plain, text=self.text(rows))

    def text(self, rows: Sequence[Joined]) -> EditText:
        """The rows' prompts and targets, in the base model's embeddings."""
        x, real = embedded(self.backbone, [row.ids for row in rows])
        return EditText(x, real, torch.tensor([row.start for row in rows], device=x.device))

    def updates(self, captured: EditCapture) -> dict[str, LayerFactors]:
        assert captured.text is not None
        return self.network(captured.layers, captured.text)

    def layer(self, captured: EditCapture, update: LayerFactors, path: str, i: int) -> LayerDelta:
        kept = torch.nn.functional.pad(captured.layers[path].kept[i], (0, 1), value=True)
        a, b = update.factors
        return LayerDelta(A=a[i][kept], B=b[i][:, kept])
