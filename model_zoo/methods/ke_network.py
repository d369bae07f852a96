"""The KnowledgeEditor's network (De Cao, Aziz, Titov 2021, arXiv 2104.08164, equations 4 and 5).

A bidirectional LSTM reads the edit's text, the prompt, a separator and the target, in the base model's frozen
embeddings; h is made of its last states. For each edited matrix a small network turns h into alpha, beta
[d_out], gamma, delta [d_in] and the number eta. With G [d_out, d_in] the gradient of the edit's NLL,

    dW = -l sigmoid(eta) (alpha^ * G / s + beta^),    alpha^ = d_out softmax(alpha) gamma^T,
                                                      beta^ = d_out softmax(beta) delta^T.

G is a sum of g_t u_t^T over the tokens, so nothing of the size of dW is made: with a = d_out softmax(alpha)

    alpha^ * G = sum_t (a * g_t) (gamma * u_t)^T,

and beta^ is one outer product more: a change of n tokens has rank n + 1.

As in the authors' code the softmax stands over the outputs. What is added here: gradients are tiny and of
another size in every matrix, so G is measured in s, the size of its entries over training edits; the step l
of each matrix is learned; and by the factor d_out, with gamma = 1 and delta = 0 at first, an untrained
network is one step of gradient descent, but for the small random weights that let everything learn. The
paper's third text, the model's old answer, is not read: a request does not know it.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..changes import LayerFactors
from .capture import Captured, EditText
from .hyper_config import HyperConfig

SMALL = 0.02  # standard deviation of the weights behind an untrained network's gates


class TextReader(nn.Module):
    """The edit's text as one vector: [E, n, width] -> [E, 2 size]."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.separator = nn.Parameter(torch.randn(width))
        self.lstm = nn.LSTM(width, size, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * size, 2 * size)

    def forward(self, text: EditText) -> Tensor:
        sizes = text.real.sum(1) + 1
        packed = nn.utils.rnn.pack_padded_sequence(
            self._separated(text), sizes.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.lstm(packed)  # [2, E, size]
        return torch.tanh(self.out(last.transpose(0, 1).flatten(1)))

    def _separated(self, text: EditText) -> Tensor:
        """[E, n + 1, width]: the separator stands where the target begins, and the target behind it."""
        n, place = text.x.shape[1], text.start[:, None]
        at = torch.arange(n + 1, device=place.device).expand(len(place), -1)
        source = torch.where(at > place, at - 1, at).clamp(max=n - 1)
        x = self.norm(text.x).gather(1, source[..., None].expand(-1, -1, text.x.shape[2]))
        return torch.where((at == place)[..., None], self.separator, x)


class Gates(nn.Module):
    """What the text makes of one matrix's gradient; h [E, size] -> the five parts of the equation."""

    def __init__(self, size: int, rank: int, d_out: int, d_in: int):
        super().__init__()
        self.d_out = d_out
        self.sizes = (d_out, d_in, d_out, d_in, 1)
        self.hidden = nn.Linear(size, rank)
        self.out = nn.Linear(rank, sum(self.sizes))
        nn.init.normal_(self.out.weight, std=SMALL)
        nn.init.zeros_(self.out.bias)
        nn.init.ones_(self.out.bias[d_out : d_out + d_in])  # gamma

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """a [E, d_out], gamma [E, d_in], b [E, d_out], delta [E, d_in], sigmoid(eta) [E, 1]."""
        alpha, gamma, beta, delta, eta = self.out(torch.tanh(self.hidden(h))).split(self.sizes, dim=-1)
        return self._over_outputs(alpha), gamma, self._over_outputs(beta), delta, eta.sigmoid()

    def _over_outputs(self, x: Tensor) -> Tensor:
        return self.d_out * x.softmax(-1)


class KENetwork(nn.Module):
    """One reader of the text, and Gates for every matrix. `shapes` are (d_out, d_in) by module path;
    `token_width` is the width of the base model's embeddings.
    """

    gradient_size: Tensor  # [matrices]

    def __init__(self, shapes: Mapping[str, tuple[int, int]], config: HyperConfig, token_width: int):
        super().__init__()
        if not config.lstm:
            raise ValueError("KE reads the edit's text by an LSTM, and lstm=0 gives it none; set its size.")
        self.paths = tuple(shapes)
        self.text = TextReader(token_width, config.lstm)
        self.gates = nn.ModuleList(
            Gates(2 * config.lstm, config.rank, d_out, d_in) for d_out, d_in in shapes.values()
        )
        # sigmoid(eta) begins at one half
        self.log_lr = nn.Parameter(torch.full((len(shapes),), math.log(2 * config.edit_lr)))
        self.register_buffer("gradient_size", torch.ones(len(shapes)))

    def forward(self, captured: Mapping[str, Captured], text: EditText) -> dict[str, LayerFactors]:
        """A [E, n + 1, d_in] and B [E, d_out, n + 1] per module path; zero where a token is not kept, the
        text's own direction last.
        """
        h = self.text(text)
        updates = {}
        for m, (path, gates) in enumerate(zip(self.paths, self.gates, strict=True)):
            a, gamma, b, delta, eta = gates(h)
            inputs = gamma[:, None] * captured[path].u
            gradients = a[:, None] * captured[path].delta / self.gradient_size[m]
            step = -self.log_lr[m].exp() * eta[..., None]
            updates[path] = LayerFactors(
                A=torch.cat([inputs, delta[:, None]], 1),
                B=step * torch.cat([gradients, b[:, None]], 1).transpose(1, 2),
            )
        return updates

    @torch.no_grad()
    def calibrate(self, batches: Sequence[Mapping[str, Captured]]) -> None:
        """Set the size of G's entries: the root of their mean square, averaged over a sample of edits."""
        for m, path in enumerate(self.paths):
            sizes = torch.cat([_sizes(batch[path]) for batch in batches])
            self.gradient_size[m] = sizes.mean().clamp(min=1e-12)


def _sizes(captured: Captured) -> Tensor:
    """[E]: the root mean square of each gradient's entries, from Gram matrices."""
    u, delta = captured.u, captured.delta
    square = ((u @ u.transpose(1, 2)) * (delta @ delta.transpose(1, 2))).sum((1, 2))
    return (square.clamp(min=0) / (u.shape[2] * delta.shape[2])).sqrt()
