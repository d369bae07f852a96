"""Whether a prompt is about a stored edit: a logistic regression of a few likenesses of the two.

    p = 1 / (1 + exp(-(w f(edit, prompt) + b)))
Each likeness is of these two texts alone: it is the same whatever else is stored.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..backbone import Backbone
from ..changes import StoredEdit
from ..joining import Joined
from .retrieval import latest, share_named, subject_words, words

FEATURES = 6  # of `likeness`
AT_ONCE = 64  # prompts in one forward pass
KEPT = 20_000  # prompts whose states are kept, at most
RIDGE = 1e-3  # on standardised weights
# what the base makes of the prompts of stored edits, for as long as it is held
_STATES: WeakKeyDictionary[Backbone, dict[str, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True)
class MostLikely:
    """The stored edit that a prompt is most likely about, if that is likelier than `least`. `weights` [7]:
    those of the likenesses, and the bias.
    """

    weights: tuple[float, ...]
    least: float = 0.5

    def __call__(self, prompt: str, stored: Sequence[StoredEdit], backbone: Backbone) -> Sequence[StoredEdit]:
        edits = latest(stored)
        if not edits:
            return []
        likely = self.probabilities(prompt, edits, backbone)
        best = int(likely.argmax())
        return [edits[best]] if likely[best] > self.least else []

    def probabilities(self, prompt: str, edits: Sequence[StoredEdit], backbone: Backbone) -> Tensor:
        """[n]: how likely the prompt is about each edit."""
        *w, b = self.weights
        return torch.sigmoid(likeness(prompt, edits, backbone) @ torch.tensor(w) + b)


def likeness(prompt: str, edits: Sequence[StoredEdit], backbone: Backbone) -> Tensor:
    """[n, 6]: the cosines of the prompt's characters and words with each edit's, the share of the subject's
    words that it names, the cosine of the other words, and those of the base's states: their mean in the
    middle, and the last one.
    """
    own, said = _grams(prompt), words(prompt)
    told = []
    for edit in edits:
        subject, other = subject_words(edit), words(edit.prompt)
        told.append(
            (
                _cosine(own, _grams(edit.prompt)),
                _cosine(said, other),
                share_named(edit, said),
                _cosine(said - subject, other - subject),
            )
        )
    asked, known = states_of([prompt], backbone), states_of([edit.prompt for edit in edits], backbone, True)
    cosines = torch.cosine_similarity(asked, known, dim=-1)
    return torch.cat([torch.tensor(told), cosines], dim=1)


def states_of(prompts: Sequence[str], backbone: Backbone, keep: bool = False) -> Tensor:
    """[n, 2, d]: of each prompt the base's mean state in the middle of its blocks, and its last final one."""
    kept = _STATES.setdefault(backbone, {})
    if len(kept) > KEPT:
        kept.clear()
    found = kept if keep else {prompt: kept[prompt] for prompt in prompts if prompt in kept}
    new = sorted({prompt for prompt in prompts if prompt not in found}, key=len)
    for i in range(0, len(new), AT_ONCE):
        part = new[i : i + AT_ONCE]
        rows = [Joined(ids, len(ids)) for ids in map(backbone.ids, part)]
        middle, final = (states.float().cpu() for states in backbone.states(rows, backbone.blocks // 2))
        for n, (prompt, row) in enumerate(zip(part, rows, strict=True)):
            length = len(row.ids)
            found[prompt] = torch.stack([middle[n, :length].mean(0), final[n, length - 1]])
    return torch.stack([found[prompt] for prompt in prompts])


def fitted(features: Tensor, about: Tensor) -> Tensor:
    """The weights [F + 1] of a logistic regression of `about` [n] on features [n, F], by Newton's method."""
    x, y = features.double(), about.double()
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x = torch.cat([(x - mean) / std, torch.ones(len(x), 1, dtype=torch.double)], dim=1)
    w = x.new_zeros(x.shape[1])
    ridge = RIDGE * torch.eye(len(w), dtype=torch.double)
    for _ in range(30):
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (p - y) / len(y) + ridge @ w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + ridge
        w = w - torch.linalg.solve(hessian, gradient)
    scaled = w[:-1] / std
    return torch.cat([scaled, w[-1:] - (scaled * mean).sum()]).float()


def _cosine(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max((len(one) * len(other)) ** 0.5, 1.0)


@functools.lru_cache(maxsize=8192)
def _grams(text: str) -> frozenset[str]:
    """The text's runs of 2 to 5 characters, whatever their case."""
    padded = f" {' '.join(text.casefold().split())} "
    return frozenset(padded[i : i + n] for n in range(2, 6) for i in range(len(padded) - n + 1))
