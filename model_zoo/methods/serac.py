"""SERAC: a scope classifier finds the stored edit that a prompt is about, and a counterfactual model answers
by it (Mitchell et al. 2022, arXiv 2206.06520).

    f(x) = base(x) if max_i g(z_i, x) <= 0.5, else h(z_i*, x)
The classifier g is a logistic regression of likenesses (in_scope.py), where the paper trains a DistilBERT.
The counterfactual model h is the base with an adapter that was trained on prompts in scope alone; the paper
takes a small model of its own. A prompt that is about no edit sees the base model, bit for bit.
"""

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from ..changes import Retriever
from .editor_folder import WEIGHTS_FILE
from .hyperparameters import Hyperparameters
from .in_scope import FEATURES, MostLikely, fitted, likeness, states_of
from .reader import Pair, Reader

SCOPE = "scope"  # the classifier's weights in the file


class SERACHyperparameters(Hyperparameters):
    """When an edit answers."""

    least: float = Field(
        0.5, ge=0, le=1, title="Probability", description="above which an edit answers; the paper takes 0.5"
    )


class SERAC(Reader):
    """Bound to a backbone with the adapter and the classifier that were trained for it."""

    name = "serac"
    pretty_name = "SERAC (scope classifier)"
    reference_url = "https://arxiv.org/abs/2206.06520"
    Hyperparameters = SERACHyperparameters
    most_edits = 1
    leaves_others_alone = False

    @property
    def weights(self) -> Tensor:
        """The classifier's [7]. ValueError where its file has none."""
        weights = self.numbers.get(SCOPE)
        if weights is None or weights.shape != (FEATURES + 1,):
            raise ValueError(f"{WEIGHTS_FILE} of this editor has no scope classifier; train it again.")
        return weights

    @property
    def retriever(self) -> Retriever:
        return MostLikely(tuple(self.weights.tolist()), self.config.least)

    def learn_scope(self, pairs: Callable[[], Sequence[Pair]]) -> None:
        found = pairs()
        states_of([prompt for _, prompt, _ in found], self.backbone, keep=True)  # many at once
        features = torch.cat([likeness(prompt, [edit], self.backbone) for edit, prompt, _ in found])
        about = torch.tensor([inside for _, _, inside in found])
        self.numbers[SCOPE] = fitted(features, about).half().float()
