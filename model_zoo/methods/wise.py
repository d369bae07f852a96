"""WISE: a side memory beside one MLP projection, used where active (Wang et al. 2024, arXiv 2405.14768).

    W' = W + M * D,    the output is W' x where |(W' - W) x| > epsilon, and W x elsewhere
with a copy W' of a late block's projection W, trained on the edits through a random mask M (the paper's
knowledge shards) by NLL(target) + L_a. With a(x) = |(W' - W) x|, x_e at the positions that predict the
targets and x_i anywhere in unrelated texts,

    L_a = max(0, a(x_i) - alpha) + max(0, beta - a(x_e)) + max(0, gamma - (a(x_e) - a(x_i)))
(the paper's margin loss; gamma = beta - alpha here), the first two in the mean, the last one of the weakest
x_e and the strongest x_i. Activations are in units of the mean length of W x in unrelated texts, since that
differs from model to model. epsilon is a share of the weakest x_e's activation.

What is unrelated are facts that the source states, questions in a chat and, beyond the paper, the edit's own
prompt about other subjects: at a prompt's last token the wording tells more than the subject, and without
them every prompt of the edit's wording used the copy. Of all their tokens those nearest to the edit's count.

Several side memories stand side by side, and the most active one is used (WISE-Retrieve). The authors decide
once per prompt, by the largest activation over its tokens; here every token decides by its own, so that no
token's output depends on later ones and a cache of the past changes nothing. Training fits that: only the
positions that predict a target use W'. Merging shards into one copy (Ties) is left out.
"""

import hashlib
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor

from ..backbone import Backbone
from ..changes import Memory, SideMatrices
from ..generation import written
from ..joining import Joined
from ..request import EditRequest
from ..sources import Source
from ..sources.frames import NEUTRAL
from .base import EditMethod, Setup
from .fine_tuning import FineTuningHyperparameters, descend, plain_row
from .values import CONTEXTS

BEHIND = 3  # contexts that an edit is trained behind
NEAREST = 64  # unrelated tokens that count for an edit
WRITTEN = 32  # tokens that the model writes behind a neutral prompt where no facts are known


class WISEHyperparameters(FineTuningHyperparameters):
    """The paper takes alpha 5, beta 20 and gamma 10 for Llama-2-7B, not relative."""

    steps: int = Field(40, ge=1, le=1000, title="Steps", description="of Adam at most; the authors take 70")
    lr: float = Field(4e-3, gt=0, le=1, title="Learning rate", description="of Adam; measured here")
    stop_nll: float = Field(
        0.05, ge=0, le=10, title="Stop at", description="of the whole loss, in nats; measured here"
    )
    depth: float = Field(
        0.8, ge=0.05, le=0.95, title="Depth", description="of the block; the paper takes 27 of 32"
    )
    share: float = Field(
        0.2, gt=0, le=1, title="Share", description="of the copy's entries that are trained; the paper: 0.2"
    )
    alpha: float = Field(
        0.25, ge=0, le=100, title="Quiet", description="most activation of unrelated tokens; measured here"
    )
    beta: float = Field(
        0.75, gt=0, le=100, title="Active", description="least activation of an edit's tokens; measured here"
    )
    weight: float = Field(4.0, ge=0, le=1000, title="Margin", description="weight of L_a; the paper takes 1")
    slack: float = Field(
        0.8,
        gt=0,
        le=1,
        title="Threshold",
        description="in activations of an edit's weakest token; the paper takes 1, measured here",
    )
    shard: int = Field(20, ge=1, le=1000, title="Shard", description="edits made at once that share a copy")
    unrelated: int = Field(
        64, ge=1, le=4096, title="Unrelated texts", description="that leave the copy quiet"
    )
    subjects: int = Field(
        16, ge=0, le=256, title="Other subjects", description="asked about in the edit's own wording"
    )


class WISE(EditMethod):
    """Bound to a backbone."""

    name = "wise"
    pretty_name = "WISE (side memory)"
    reference_url = "https://arxiv.org/abs/2405.14768"
    kind = Memory
    Hyperparameters = WISEHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        c, backbone, self.source = self.config, self.backbone, setup.source
        self.block = backbone.at_depth(c.depth)
        self.path = backbone.family.linears(self.block)[-1]
        self.unrelated = unrelated_texts(backbone, setup.source, c.unrelated)
        self.keys = self._keys([text for _, text in self.unrelated])
        found = (setup.source.subject(prompt) for prompt, _ in self.unrelated)
        self.subjects = list(dict.fromkeys(subject for subject in found if subject))
        self.unit = backbone.linear(self.path, torch.cat(self.keys)).norm(dim=1).mean()

    @property
    def fingerprint(self) -> str:
        return repr((self.config, hashlib.sha256(repr(self.unrelated).encode()).hexdigest()[:16]))

    def propose(self, requests: Sequence[EditRequest]) -> list[Memory]:
        return [self._fit([request]) for request in requests]

    def together(self, requests: Sequence[EditRequest]) -> Memory:
        """One side memory for every shard of edits, trained on all of its edits together."""
        n = self.config.shard
        return self.combine([self._fit(requests[i : i + n]) for i in range(0, len(requests), n)])

    def combine(self, changes: Sequence[Memory]) -> Memory:
        books = [change.books[self.path] for change in changes]
        d, thresholds = (torch.cat([getattr(book, name) for book in books]) for name in ("D", "thresholds"))
        return Memory({self.path: SideMatrices(d, thresholds)})

    def _fit(self, requests: Sequence[EditRequest]) -> Memory:
        """One side memory for all the requests."""
        c, backbone = self.config, self.backbone
        rows = self._rows(requests)
        own = backbone.inputs(rows, [self.path])[0][self.path]
        # the blocks below are passed over: nothing there changes
        batch = replace(backbone.batch(rows), kept=backbone.states(rows, self.block), first=self.block)
        x_edit = own[batch.predicting]  # (n, d_in)
        x_other = self.nearest(x_edit, requests)
        shape, drawn = backbone.shape(self.path), torch.Generator().manual_seed(0)  # the same every time
        mask = (torch.rand(shape, generator=drawn) < c.share).to(backbone.weight_device(self.path))
        d = torch.zeros(shape, device=mask.device, requires_grad=True)

        def loss() -> Tensor:
            change = d * mask
            nll = backbone.row_nll(batch, _Used(self.path, change, batch.predicting)).mean()
            edit, other = (activation(change, x) / self.unit for x in (x_edit, x_other))
            return nll + c.weight * margin_loss(edit, other, c.alpha, c.beta)

        descend([d], loss, c.steps, c.lr, c.stop_nll)
        change = (d * mask).detach()
        epsilon = c.slack * activation(change, x_edit).min()
        return Memory({self.path: SideMatrices(change[None], epsilon[None])})

    def _rows(self, requests: Sequence[EditRequest]) -> list[Joined]:
        """Every edit behind each context; inside a chat template behind none."""
        rows = []
        for request in requests:
            plain = self.backbone.asked(request.prompt, request.chat) == request.prompt
            contexts = CONTEXTS[:BEHIND] if plain else ("",)
            rows += [plain_row(self.backbone, request, context) for context in contexts]
        return rows

    def _keys(self, texts: Sequence[str]) -> list[Tensor]:
        """The inputs [tokens, d_in] of the matrix in each text."""
        if not texts:
            return []
        rows = [Joined(ids, len(ids)) for ids in map(self.backbone.ids, texts)]
        inputs, real = self.backbone.inputs(rows, [self.path])
        return [own[at] for own, at in zip(inputs[self.path], real, strict=True)]

    def elsewhere(self, request: EditRequest, edited: Collection = ()) -> list[str]:
        """The request's own prompt about other subjects but those that are `edited` too; none where its
        subject is not known.
        """
        subject = request.subject
        if not subject:
            return []
        others = [other for other in self.subjects if other != subject][: self.config.subjects]
        prompts = (request.prompt.replace(subject, other) for other in others)
        kept = (prompt for prompt in prompts if self.source.fact_key(prompt) not in edited)
        return [self.backbone.asked(prompt, request.chat) for prompt in kept]

    def unrelated_keys(self, requests: Sequence[EditRequest]) -> Tensor:
        """The inputs [m, d_in] in unrelated texts and the requests' own wordings about other subjects; what
        the requests themselves change is left out.
        """
        edited = {self.source.fact_key(request.prompt) for request in requests}
        pairs = zip(self.unrelated, self.keys, strict=True)
        kept = [own for (prompt, _), own in pairs if self.source.fact_key(prompt) not in edited]
        texts = [text for request in requests for text in self.elsewhere(request, edited)]
        return torch.cat(kept + self._keys(texts) or self.keys)

    def nearest(self, x_edit: Tensor, requests: Sequence[EditRequest]) -> Tensor:
        """Of the unrelated inputs, those nearest in direction to any of x_edit [n, d_in]."""
        keys = self.unrelated_keys(requests)
        unit, ours = (torch.nn.functional.normalize(x, dim=1) for x in (keys, x_edit))
        near = (unit @ ours.T).max(dim=1).values
        return keys[near.topk(min(NEAREST, len(keys))).indices]


def unrelated_texts(backbone: Backbone, source: Source, n: int) -> list[tuple[str, str]]:
    """(prompt, text) of facts that a source states and questions as people ask them in a chat; where it
    knows none, what the model itself goes on to write behind neutral prompts.
    """
    try:
        pairs = source.statements()
    except ValueError:  # none are at hand
        prompts = [probe.prompt for probe in NEUTRAL]
        return list(zip(prompts, written(backbone, prompts, WRITTEN), strict=True))
    asked = source.asked()[: n // 4]
    stated = random.Random(0).sample(pairs, min(n - len(asked), len(pairs)))
    return [
        *((prompt, f"{prompt} {answer}") for prompt, answer in stated),
        *((question, backbone.asked(question, True)) for question in asked),
    ]


def activation(d: Tensor, x: Tensor) -> Tensor:
    """|D x| [n] of inputs x [n, d_in]; it has a gradient at D = 0 too."""
    return ((x @ d.T).square().sum(1) + 1e-12).sqrt()


def margin_loss(edit: Tensor, other: Tensor, alpha: float, beta: float) -> Tensor:
    """L_a of the activations of the edits' tokens [n] and of unrelated ones [m]."""
    quiet, active = (other - alpha).relu().mean(), (beta - edit).relu().mean()
    return quiet + active + (beta - alpha - (edit.min() - other.max())).relu()


@dataclass(frozen=True)
class _Used:
    """Live: every row uses W + D, D [d_out, d_in], at the positions `on` [rows, T]."""

    path: str
    D: Tensor
    on: Tensor

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        if path != self.path:
            return None
        return y + (x.float() @ self.D.T * self.on.to(x.device)[..., None]).to(y.dtype)
