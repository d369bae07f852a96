"""EasyEdit's MEND and InstructEdit: a hypernetwork that was trained there, with every habit of that program.

The network is the one of hypernetwork.py. What differs was measured on archives of that program: its rates
have a sign of their own and are added, not descended; an edit's text is prompt, space, target, while what is
to be said is the target's own tokens, encoded apart and laid over the text's end (a tokenizer that begins
every text with a token of its own has that token learned too). Archives become folders in importing.py.

That program edits one request at a time, on the weights as they are; here several edits live together as
their sum. Edits in one batch it pads on the left, which shifts GPT-2's positions; no edit here depends on
another, so each is what that program makes of it alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..backbone import Backbone
from ..changes import Delta
from ..joining import Joined
from ..request import EditRequest
from .base import summed
from .capture import Captured, prefix_size, token_width
from .editor_folder import EditorConfig
from .hyper_config import HyperConfig
from .hypernetwork import Hypernetwork, Update
from .instructedit import InstructEdit


class SignedNetwork(Hypernetwork):
    """A Hypernetwork whose edit rates `edit_lrs` [matrices], in the order of `shapes`, have either sign:
    delta W = edit_lr sum_t delta~_t u~_t^T. The rates that it would learn as logarithms stay at 1.
    """

    edit_lrs: Tensor

    def __init__(self, shapes: Mapping[str, tuple[int, int]], config: HyperConfig, token_width: int = 0):
        super().__init__(shapes, config, token_width)
        self.register_buffer("edit_lrs", torch.full((len(shapes),), config.edit_lr))
        for rate in self.log_lr.values():
            torch.nn.init.zeros_(rate)

    def forward(self, captured: Mapping[str, Captured], reading: Tensor | None = None) -> dict[str, Update]:
        updates = super().forward(captured, reading)
        rates = dict(zip(self.shapes, self.edit_lrs, strict=True))
        return {path: replace(update, B=-rates[path] * update.factors[1]) for path, update in updates.items()}


class EasyEdit(InstructEdit):
    """An editor that EasyEdit trained."""

    name = "easyedit"
    pretty_name = "EasyEdit's MEND and InstructEdit (imported)"
    reference_url = "https://arxiv.org/abs/2308.07269"
    trained_by = None
    measures_keys = False
    stored = torch.float32

    @classmethod
    def new_network(cls, config: EditorConfig, backbone: Backbone) -> SignedNetwork:
        return SignedNetwork(config.modules, config.hyper, token_width(backbone))

    def join(self, request: EditRequest) -> Joined:
        """The row as that program makes it; ValueError where it is too long, or too short for its labels."""
        put = request.text if self.config.instructed else request.plain().text
        target = request.target if request.target.startswith(" ") else f" {request.target}"
        ids, labels = (tuple(self.backbone.tokenizer(text)["input_ids"]) for text in (put + target, target))
        if len(ids) > self.backbone.max_length:
            raise ValueError(
                f"Instruction, prompt and target are {len(ids)} tokens long together, "
                f"but {self.backbone.name} reads at most {self.backbone.max_length}; shorten them."
            )
        start = len(ids) - len(labels)
        if start < 1:
            raise ValueError(
                f"The target '{request.target}' leaves no token of the prompt before it; "
                "write a longer prompt."
            )
        return Joined(ids, start, prefix_size(self.backbone, request, put), labels)

    def combine(self, changes: Sequence[Delta]) -> Delta:
        """The sum of the edits."""
        return summed(changes)
