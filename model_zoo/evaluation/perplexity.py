"""What an edit does to running text that is none of its business: how far its perplexity rises."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from ..backbone import Backbone
from ..changes import Patch, Patches, live
from ..statistics import passages_of
from .metrics import RISE
from .scoring import Case, Row

PASSAGES, WORDS = 16, 80  # drawn from a text, and the words of each


def passages(path: str | Path, seed: int = 0) -> tuple[str, ...]:
    """Beginnings of PASSAGES lines of a text file, drawn by the seed. ValueError where it has none, or cannot
    be read.
    """
    found = [" ".join(line.split()[:WORDS]) for line in passages_of(Path(path))]
    return tuple(random.Random(seed).sample(found, min(PASSAGES, len(found))))


@torch.no_grad()
def perplexity(backbone: Backbone, texts: Sequence[str], patch: Patch | None) -> float:
    """exp of the mean NLL per token of the texts, each behind its own first word."""
    pairs = [text.split(" ", 1) for text in texts]
    batch = backbone.batch([backbone.join(first, rest) for first, rest in pairs])
    nll = backbone.row_nll(batch, live([patch] * len(pairs), backbone))
    tokens = batch.predicting.sum(1)
    return float(((nll * tokens).sum() / tokens.sum()).exp())


class Prose:
    """Passages with their perplexity under the base model."""

    def __init__(self, backbone: Backbone, texts: Sequence[str]):
        self.backbone, self.texts = backbone, texts
        self.base = perplexity(backbone, texts, None)

    def rows(self, cases: Sequence[Case], patches: Patches) -> list[Row]:
        """One row for each different patch, of the first case that sees it: how far the perplexity rises, as
        a share of the base's.
        """
        found: dict[int, Row] = {}
        for case, patch in zip(cases, patches, strict=True):
            if id(patch) not in found:
                rise = perplexity(self.backbone, self.texts, patch) / self.base - 1
                found[id(patch)] = Row(case.index, RISE, self.texts[0], "", "", "", rise, None)
        return list(found.values())
