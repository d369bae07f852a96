"""A backbone of another kind: an encoder reads the prompt, a decoder writes the answer (T5).

The decoder's MLPs are edited. Rows, labels, states and gradients keep the places that they have in a causal
LM: at place t the decoder reads token t and predicts token t + 1. The encoder sees what stands before the
target, with the end token behind it; the decoder sees its start token in the last place before the target,
and nothing before that, which its relative positions do not mind.
"""

from collections.abc import Callable
from inspect import signature

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from .backbone import Backbone, Batch


class EncoderDecoder(Backbone):
    """A frozen encoder-decoder. What its decoder does not see, a prompt's tokens, no edit can hang on."""

    def reading(self, batch: Batch) -> dict[str, Tensor]:
        target, real = batch.labels != -100, batch.attention_mask.bool()
        size = real.sum(1, keepdim=True)
        start = torch.where(target.any(1, keepdim=True), target.int().argmax(1, keepdim=True), size)
        place = torch.arange(real.shape[1] + 1, device=real.device)[None]
        read = torch.nn.functional.pad(batch.input_ids, (0, 1)).where(place < start, self._end)
        written, place = batch.input_ids, place[:, :-1]
        return {
            "input_ids": read,
            "attention_mask": (torch.arange(read.shape[1], device=real.device) <= start).long(),
            "decoder_input_ids": written.where(place >= start, self._start),
            "decoder_attention_mask": (real & (place >= start - 1)).long(),
        }

    def real(self, batch: Batch) -> Tensor:
        return self.reading(batch)["decoder_attention_mask"].bool()

    def idle(self, rows: int) -> dict[str, Tensor | BaseModelOutput]:
        nothing = torch.zeros(rows, 1, self.widths[0], device=self.device, dtype=self.model.dtype)
        ids = torch.full((rows, 1), self._start, device=self.device)
        return {"encoder_outputs": BaseModelOutput(nothing), "decoder_input_ids": ids}

    def asking(self, ids: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], int]:
        ends = torch.full_like(ids[:, :1], self._end)
        asked = {
            "input_ids": torch.cat([ids, ends], 1),
            "attention_mask": torch.nn.functional.pad(mask, (0, 1), value=1),
        }
        return asked, 1  # the start token

    @property
    def _start(self) -> int:
        told = (self.model.generation_config, self.model.config)
        found = (getattr(config, "decoder_start_token_id", None) for config in told)
        return next((start for start in found if start is not None), self.pad_id)

    @property
    def _end(self) -> int:
        return self.pad_id if self.end_id is None else self.end_id

    def _passed_over(self, hidden: Tensor, forward: Callable, args: tuple, kwargs: dict) -> tuple:
        """With the position biases that the first block makes for all: it is run for them alone."""
        given = signature(forward).bind(hidden, *args, **kwargs).arguments
        if given.get("position_bias") is None:
            return hidden, *forward(hidden, *args, **kwargs)[1:]
        return hidden, given["position_bias"], given["encoder_decoder_position_bias"]
