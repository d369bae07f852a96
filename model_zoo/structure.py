"""What is known of a causal LM without running it: its blocks, and the MLP linears that editors change.

Which blocks a method edits follows from the model's depth: the last n (`last_blocks`), the n-th from the top
(`from_top`), or the one at a share of the depth (`at_depth`), so that a default holds for a model of two
blocks and of a hundred. The three count what is there: a model of fewer blocks gives all it has.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .families import family_of


class Structure:
    """The modules of a model, which is frozen, by the paths of its family.

    ValueError where the model is of no family, or of another shape than its family says.
    """

    def __init__(self, model: PreTrainedModel):
        self.model: Any = model.eval().requires_grad_(False)  # transformers' types do not know its modules
        self.family = family_of(model.config.model_type, model)
        self.block_list = cast(nn.ModuleList, model.get_submodule(self.family.blocks))
        self.blocks = len(self.block_list)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def max_length(self) -> int:
        """Tokens that it reads at most. Where no table ends (alibi), 2048: what it was trained on, mostly."""
        config = self.model.config.get_text_config()
        names = ("max_position_embeddings", "max_seq_len", "seq_length")
        return next((n for name in names if (n := getattr(config, name, None))), 2048)

    @property
    def widths(self) -> tuple[int, int]:
        """Of the states that enter a block, and of the final ones, which enter the head."""
        head = self.model.get_output_embeddings()
        return self.model.config.get_text_config().hidden_size, head.in_features

    def linears(self, first: int, n: int) -> tuple[str, ...]:
        """Paths of the MLP linears of n blocks from `first` on."""
        blocks = range(first, min(first + n, self.blocks))
        return tuple(path for block in blocks for path in self.family.linears(block))

    def last_blocks(self, n: int) -> tuple[str, ...]:
        """Paths of the MLP linears of the last n blocks."""
        return self.linears(self.from_top(n), n)

    def at_depth(self, share: float, above: int = 0) -> int:
        """The block at a share of the model's depth (0 to 1), with at least so many blocks above it.

        ValueError where there are too few blocks.
        """
        if above >= self.blocks:
            raise ValueError(
                f"The model has {self.blocks} blocks, and this method needs one with {above} above it; use a "
                "deeper model or another method."
            )
        return min(max(round(share * self.blocks) - 1, 0), self.blocks - 1 - above)

    def from_top(self, n: int) -> int:
        """The n-th block from the top, 1 being the last; the first one where there are fewer."""
        return max(0, self.blocks - n)

    def weight(self, path: str) -> Tensor:
        """The linear's weight as [d_out, d_in], also where the module stores it transposed (Conv1D)."""
        module = self.model.get_submodule(path)
        weight = module.weight
        if not weight.dtype.is_floating_point:  # quantised: packed integers
            from transformers.integrations.bitsandbytes import dequantize_bnb_weight

            weight = dequantize_bnb_weight(weight, getattr(module, "state", None))
        return weight.T if self.transposed(path) else weight

    def transposed(self, path: str) -> bool:
        """Whether the linear stores its weight as [d_in, d_out] (Conv1D)."""
        return self.model.get_submodule(path).__class__.__name__ == "Conv1D"

    def shape(self, path: str) -> tuple[int, int]:
        """(d_out, d_in); from the module's own fields, since a quantised weight is packed."""
        module = self.model.get_submodule(path)
        if self.transposed(path):
            return module.nf, module.nx
        return module.out_features, module.in_features

    def weight_device(self, path: str) -> torch.device:
        """Where a linear's weight lies: a model may be spread over several devices."""
        return next(self.model.get_submodule(path).parameters()).device

    def linear(self, path: str, x: Tensor) -> Tensor:
        """What a linear puts out for inputs x [n, d_in] on the base model: [n, d_out], float32."""
        bias = getattr(self.model.get_submodule(path), "bias", None)
        return torch.nn.functional.linear(
            x.float().to(self.weight_device(path)),
            self.weight(path).float(),
            None if bias is None else bias.float(),
        )
