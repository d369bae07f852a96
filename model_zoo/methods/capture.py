"""What of an edit's gradient the network sees.

An edit is one row of text: instruction, prompt and target. Its gradient at one matrix is a sum over the row's
tokens of delta u^T, with u the token's input to the matrix and delta the gradient at its output. The network
gets the pairs (u, delta) of the tokens that are kept, and what there is to read of the instruction or of the
row's text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backbone import Backbone
from ..joining import Joined, ended
from ..request import EditRequest
from .instruction import Instructions


@dataclass(frozen=True)
class Captured:
    """Kept tokens of E edits at one matrix, zero-padded: u [E, n, d_in], delta [E, n, d_out], kept [E, n]."""

    u: Tensor
    delta: Tensor
    kept: Tensor


@dataclass(frozen=True)
class EditText:
    """Rows of E edits as text: x [E, n, width] (their tokens' embeddings), real [E, n] bool, and where each
    target begins, start [E].
    """

    x: Tensor
    real: Tensor
    start: Tensor


@dataclass(frozen=True)
class EditCapture:
    """What the network sees of E edits."""

    layers: dict[str, Captured]  # per edited matrix
    instructions: Instructions | None = None  # None where the network reads none
    plain: Sequence[Joined] = ()  # the edits' rows without instructions; the strength head needs them
    text: EditText | None = None  # None where the network reads the gradient alone


def keep_tokens(u: Tensor, delta: Tensor, real: Tensor) -> Captured:
    """The real tokens [E, T] of u [E, T, d_in] and delta [E, T, d_out], packed to the front.

    A token whose u or delta is all zero is left out: it would normalise to something that is not zero.
    """
    kept = real & (u != 0).any(-1) & (delta != 0).any(-1)
    most = max(int(kept.sum(1).max()), 1)
    order = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)[:, :most]
    mask = kept.gather(1, order)

    def packed(tokens: Tensor) -> Tensor:
        return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1])) * mask[..., None]

    return Captured(packed(u), packed(delta), mask)


def request_row(backbone: Backbone, request: EditRequest, target_end: str = "", stop: bool = False) -> Joined:
    """The row whose gradient makes an edit, with `stop` up to the model's end token. Its `prefix` is the
    number of the instruction's tokens.
    """
    put = backbone.asked(request.text, request.chat)
    row = backbone.join(put, ended(request.target, target_end))
    row = backbone.stopped(row) if stop else row
    return replace(row, prefix=prefix_size(backbone, request, put))


def prefix_size(backbone: Backbone, request: EditRequest, put: str) -> int:
    """Number of the instruction's tokens in what is put to the model for a request."""
    # the space before the prompt belongs to the prompt's first token
    prefix = put[: put.rindex(request.prompt)].rstrip() if request.instruction is not None else ""
    return len(backbone.ids(prefix)) if prefix else 0


@torch.no_grad()
def embedded(backbone: Backbone, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of tokens as the base model embeds them, [rows, n, width], and which are real, [rows, n] bool."""
    sizes = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(sizes.max()), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    x = backbone.model.get_input_embeddings()(ids.to(backbone.device)).float()
    return x, (torch.arange(ids.shape[1]) < sizes[:, None]).to(x.device)


def prefix_mask(rows: Sequence[Joined], width: int) -> Tensor:
    """[rows, width] bool: the instruction's tokens of each row."""
    return torch.arange(width) < torch.tensor([row.prefix for row in rows])[:, None]


def token_width(backbone: Backbone) -> int:
    """Width of what an editor reads of an instruction's tokens: their embeddings."""
    return backbone.model.get_input_embeddings().embedding_dim
