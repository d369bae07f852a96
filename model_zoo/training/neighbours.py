"""Hard negatives for locality: which facts lie nearest to an edited one in the base model's own eyes."""

from collections.abc import Sequence

import torch

from ..atlas.world import Fact, World
from ..backbone import Backbone

NEAREST = 5


class Neighbours:
    """For every training fact, the facts of its relation whose canonical prompts end in the most similar hidden state."""

    def __init__(self, backbone: Backbone, world: World):
        self.world = world
        self._near: dict[tuple[str, str], list[Fact]] = {}
        for name in world.relations:
            facts = [fact for fact in world.split_facts("train") if fact.relation.name == name]
            states = torch.nn.functional.normalize(_last_states(backbone, facts), dim=-1)
            order = (states @ states.T).fill_diagonal_(-1).argsort(dim=1, descending=True)[:, :NEAREST]
            for fact, row in zip(facts, order.tolist()):
                self._near[name, fact.subject.name] = [facts[i] for i in row if facts[i] is not fact]

    def near(self, prompt: str) -> tuple[str, Sequence[Fact]]:
        """The phrasing of an edit's prompt and the facts nearest to it; empty where the prompt is of no known fact."""
        match = self.world.match(prompt)
        if match is None or not match.known or match.fact is None:
            return "", ()
        return match.form, self._near.get((match.fact.relation.name, match.fact.subject.name), ())


@torch.no_grad()
def _last_states(backbone: Backbone, facts: Sequence[Fact]) -> torch.Tensor:
    """Final hidden state at the position that predicts each fact's object, [n, d]."""
    batch = backbone.batch([backbone.join(f.prompt(f.relation.statements[0]), f.object) for f in facts])
    first = batch.predicting.int().argmax(dim=1)
    return backbone.hidden(batch)[torch.arange(len(facts)), first].float().cpu()
