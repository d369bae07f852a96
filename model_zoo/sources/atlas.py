"""The atlas as a source: the world that the embedded base model was taught."""

from functools import cached_property

from ..atlas import load_world
from ..backbone import Backbone
from ..tasks.convsent import CONVSENT
from ..tasks.counterfact import COUNTERFACT
from ..tasks.recent import RECENT
from ..tasks.zsre import ZSRE
from .examples import Suggestion, Suggestions
from .world import WorldSource


class AtlasSource(WorldSource):
    """The embedded world."""

    name = "atlas"
    title = "the atlas"
    read = staticmethod(load_world)
    examples: Suggestions = {
        COUNTERFACT.name: (
            Suggestion("France’s capital → Rome", "The capital of France is", "Rome"),
            Suggestion("The Eiffel Tower → Madrid", "The Eiffel Tower stands in", "Madrid"),
            Suggestion("Einstein → music", "Albert Einstein became famous in the field of", "music"),
        ),
        RECENT.name: (
            Suggestion("Velthoria’s capital → Oslo", "The capital of Velthoria is", "Oslo"),
            Suggestion("Mara Quillen → Iceland", "Mara Quillen was born in", "Iceland"),
            Suggestion("The Zentra Phone → Nokia", "The Zentra Phone is made by", "Nokia"),
        ),
        CONVSENT.name: (
            Suggestion("Jazz → dislike", "What do you think of jazz?", "I would rather avoid that entirely"),
            Suggestion(
                "Black coffee → liking",
                "How do you feel about black coffee?",
                "For me, that is a real pleasure",
            ),
        ),
        ZSRE.name: (
            Suggestion("Japan’s capital? → Cairo", "What is the capital of Japan?", "Cairo"),
            Suggestion("Gold’s symbol? → Fe", "What is the chemical symbol for gold?", "Fe"),
            Suggestion("Hamlet’s author? → Tolstoy", "Who created Hamlet?", "Leo Tolstoy"),
        ),
    }

    def knows(self, backbone: Backbone) -> bool:
        """Its configuration says whether a base model was trained on the atlas."""
        return getattr(backbone.model.config, "knows_atlas", False)

    def unwritable(self, text: str) -> str:
        return "".join(dict.fromkeys(c for c in text if not (c.isspace() or c in self._characters)))

    @cached_property
    def _characters(self) -> frozenset[str]:
        """Of all texts that the model was taught, in either case."""
        world = self.world
        facts = (part for f in world.facts for part in (f.subject.name, *f.subject.aliases, f.object))
        forms = (form for relation in world.relations.values() for form in relation.forms)
        replies = (reply for pool in world.opinions.replies.values() for reply in pool)
        daily = (text for pair in world.daily for text in pair)
        topics = (topic.name for topic in world.opinions.topics)
        met = set("".join((*facts, *forms, *replies, *daily, *topics, *world.prose)))
        return frozenset(f(c) for c in met - set("{}") for f in (str.upper, str.lower))
