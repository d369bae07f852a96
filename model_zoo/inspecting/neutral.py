"""What an edit does to running text that is none of its business: perplexity, divergence, drift per block."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from ..active import Active, activated
from ..backbone import Backbone
from ..changes import Patch, live
from ..generation import joined
from .findings import NeutralText, Passage

PASSAGES = 12


def chosen(prose: Sequence[str]) -> tuple[str, ...]:
    """The passages that every edit is measured on: PASSAGES of them, the same ones always."""
    return tuple(random.Random(0).sample(prose, min(PASSAGES, len(prose))))


@torch.no_grad()
def neutral_text(backbone: Backbone, texts: Sequence[str], patch: Patch | None) -> NeutralText:
    """One forward pass over each text twice, without and with the patch. Each text is scored behind its own
    first word.
    """
    n, twice = len(texts), [*texts, *texts]
    first, rest = zip(*(text.split(" ", 1) for text in twice), strict=True)
    seen = live([*[None] * n, *[patch] * n], backbone)
    batch = backbone.batch(joined(backbone, first, rest, seen))
    half, drift = int(batch.predicting[:n].sum()), []

    def moved(hidden: Tensor) -> float:
        states = hidden[batch.predicting.to(hidden.device)].float()
        base, edited = states[:half], states[half:]
        return ((edited - base).norm(dim=-1) / base.norm(dim=-1)).mean().item()

    def visit(block: int, hidden: Tensor) -> Tensor:
        if block:  # what enters a block is what the one before it left
            drift.append(moved(hidden))
        return hidden

    with activated(Active(backbone, live=seen, visit=visit)):
        final = backbone.hidden(batch)
    drift.append(moved(final))
    logs = backbone.head(final[batch.predicting]).log_softmax(-1)
    nll = -logs.gather(-1, batch.targets[:, None])[:, 0]
    kl = kl_div(logs[half:], logs[:half], reduction="none", log_target=True).sum(-1)
    sizes = batch.predicting[:n].sum(1).tolist()
    per_text = zip(texts, nll[:half].split(sizes), nll[half:].split(sizes), kl.split(sizes), strict=True)
    passages = tuple(Passage(t, _perplexity(b), _perplexity(a), d.mean().item()) for t, b, a, d in per_text)
    return NeutralText(
        passages, _perplexity(nll[:half]), _perplexity(nll[half:]), kl.mean().item(), tuple(drift)
    )


def _perplexity(nll: Tensor) -> float:
    return nll.mean().exp().item()
