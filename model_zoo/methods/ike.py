"""IKE: the new fact and demonstrations stand before the prompt (Zheng et al. 2023, arXiv 2305.12740).

Nothing is trained and no weight changes. Demonstrations show what to do with a new fact: say it when asked
for it (copy), and leave other facts alone (retain); they are made of facts that the base model knows.
"""

import random
from collections.abc import Sequence

from pydantic import Field

from ..changes import Rewrite, StoredEdit
from ..request import EditRequest
from ..sources import Source
from .base import EditMethod, Setup
from .hyperparameters import Hyperparameters
from .retrieval import NearestWords

_FACT = "New Fact: {fact}\nPrompt: {prompt}"


class IKEHyperparameters(Hyperparameters):
    """The paper takes 32 demonstrations of billions of weights; small models read few."""

    demonstrations: int = Field(
        0,
        ge=0,
        le=64,
        title="Demonstrations",
        description="before the new fact; 32 in the paper, 0 measured here",
    )
    least: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Similarity",
        description="least cosine (of characters) of a prompt that gets the fact; 0: every prompt does",
    )


class IKE(EditMethod):
    """In-context editing, bound to a backbone."""

    name = "ike"
    pretty_name = "IKE (in context)"
    reference_url = "https://arxiv.org/abs/2305.12740"
    kind = Rewrite
    Hyperparameters = IKEHyperparameters

    def __init__(self, setup: Setup):
        super().__init__(setup)
        shown = demonstrations(setup.source, self.config.demonstrations)
        # most of what the model reads is left for the fact, the question and the answer
        while len(self.backbone.ids("".join(shown))) > self.backbone.max_length // 4:
            shown = shown[:-1]
        self.shown = "".join(shown)

    @property
    def fingerprint(self) -> str:
        return repr((self.config, self.shown))

    def propose(self, requests: Sequence[EditRequest]) -> list[Rewrite]:
        # the template is filled by format: braces of demonstrations are doubled
        shown = self.shown.replace("{", "{{").replace("}", "}}")
        template = shown + _FACT.format(fact="{prompt} {target}", prompt="")
        return [
            Rewrite((StoredEdit(r.prompt, r.target, r.subject),), NearestWords(self.config.least), template)
            for r in requests
        ]

    def combine(self, changes: Sequence[Rewrite]) -> Rewrite:
        first, *others = changes
        return first.joined(others)


def demonstrations(source: Source, n: int, seed: int = 0) -> list[str]:
    """n demonstrations of facts by relation: half copy a changed fact, half retain another of its kind."""
    try:
        relations = [facts for facts in source.relations(seed) if len(facts) > 2]
    except ValueError:  # none are at hand: the fact alone must do
        return []
    rng, found = random.Random(seed), []
    for i in range(n if relations else 0):
        (prompt, _), (_, other), (kept, answer) = rng.sample(relations[rng.randrange(len(relations))], 3)
        asked = (prompt, other) if i % 2 == 0 else (kept, answer)
        found.append(_FACT.format(fact=f"{prompt} {other}", prompt=" ".join(asked)) + "\n\n")
    return found
