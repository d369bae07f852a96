"""Hard negatives for locality: which facts of a world lie nearest to an edited one in the base model's own
eyes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..atlas import Fact, World
from ..backbone import Backbone
from ..records import Probe
from .base import Neighbours

NEAREST = 5


class WorldNeighbours(Neighbours):
    """For every training fact, the facts of its relation whose canonical prompts end in the most similar
    hidden state.
    """

    def __init__(self, backbone: Backbone, world: World):
        self.world = world
        self._near: dict[tuple[str, str], list[Fact]] = {}
        for name in world.relations:
            facts = [fact for fact in world.split_facts("train") if fact.relation.name == name]
            states = torch.nn.functional.normalize(_last_states(backbone, facts), dim=-1)
            order = (states @ states.T).fill_diagonal_(-1).argsort(dim=1, descending=True)[:, :NEAREST]
            for fact, row in zip(facts, order.tolist(), strict=True):
                self._near[name, fact.subject.name] = [facts[i] for i in row if facts[i] is not fact]

    def near(self, prompt: str) -> Sequence[Probe]:
        match = self.world.match(prompt)
        if match is None or not match.known or match.fact is None:
            return ()
        facts = self._near.get((match.fact.relation.name, match.fact.subject.name), ())
        return [Probe(fact.prompt(match.form), fact.object) for fact in facts]


@torch.no_grad()
def _last_states(backbone: Backbone, facts: Sequence[Fact]) -> Tensor:
    """Final hidden state at the position that predicts each fact's object, [n, d]."""
    batch = backbone.batch([backbone.join(f.prompt(f.relation.statements[0]), f.object) for f in facts])
    first = batch.predicting.int().argmax(dim=1)
    return backbone.hidden(batch)[torch.arange(len(facts)), first].float().cpu()
