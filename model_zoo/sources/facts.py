"""What a pretrained model of English knows: some three hundred facts that were checked on SmolLM2-135M.

`facts.toml` holds, by relation, the phrasings and the facts; a model may know fewer or more of them, so what
counts as its answer is always what it says itself.
"""

import random
import tomllib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ..atlas import Entity, Fact, Opinions, Relation, World, load_world
from ..backbone import Backbone
from ..generation import predictions
from ..records import Probe, Record
from ..scopes import ScopeCase, ScopeProbe
from .base import GENERIC, NEIGHBOURS, PARAPHRASES, Evidence, Pair, generic_case
from .frames import NEUTRAL, generic_frames
from .world import WorldSource

FILE = Path(__file__).with_name("facts.toml")
_OPEN = tuple(probe for probe in NEUTRAL if not probe.answer)  # shown with every edit, as a degree
ASKED, KNOWN = 12, 6  # a model knows these facts if it answers so many of so many as expected


@lru_cache(maxsize=1)
def known_world() -> World:
    """The facts of `facts.toml`; topics of opinions and running text are the atlas's."""
    facts: list[Fact] = []
    for name, told in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        words = {key: tuple(told.get(key, ())) for key in ("statements", "questions", "inverse")}
        relation = Relation(name, told["kind"], told["object"], False, **words)
        facts += [
            Fact(Entity(subject, "", relation.kind), relation, answer)
            for subject, answer in told["facts"].items()
        ]
    atlas = load_world()
    topics = tuple(replace(topic, reply="") for topic in atlas.opinions.topics)
    opinions = Opinions(topics, atlas.opinions.questions, atlas.opinions.replies)
    return World(tuple(facts), opinions, atlas.prose, (), MappingProxyType({}))


class FactsSource(WorldSource):
    """Facts that most pretrained models know, and opinions without a known reply."""

    name = "facts"
    title = "a list of well-known facts"
    read = staticmethod(known_world)
    has_scopes = False
    question = "What is the capital of Germany?"

    def knows(self, backbone: Backbone) -> bool:
        """Whether the model says the right tokens for half of the first facts of as many relations."""
        facts = [facts[0] for facts in list(self.world.by_relation.values())[:ASKED]]
        pairs = [(fact.prompt(fact.relation.statements[0]), fact.object) for fact in facts]
        found = predictions(backbone, pairs)
        return sum(bool((said == answer).all()) for said, answer in found) >= KNOWN

    def _evidence(self, prompt: str) -> Evidence:
        """Statements alone: behind a bare question many pretrained models fall silent."""
        rng = random.Random(f"evidence {prompt}")
        match = self.match(prompt)
        if match is None or match.fact is None:
            probes = tuple(
                _stated(fact, rng) for fact in rng.sample(self.world.facts, NEIGHBOURS - len(_OPEN))
            )
            return Evidence(generic_frames(prompt), GENERIC, probes + _OPEN, self.name)
        fact, form = match.fact, match.form
        others = [f for f in fact.relation.statements if f != form]
        wordings = [fact.prompt(f) for f in rng.sample(others, min(PARAPHRASES, len(others)))]
        wordings += generic_frames(prompt)[: PARAPHRASES - len(wordings)]
        return Evidence(tuple(wordings), self.name, self._around(fact, form, rng) + _OPEN, self.name)

    def _around(self, fact: Fact, form: str, rng: random.Random) -> tuple[Probe, ...]:
        """Three others of its kind in the edit's own wording and one in another, what else is known of the
        subject, and something far.
        """
        asked = form if form in fact.relation.statements else fact.relation.statements[0]
        kin = [f for f in self.world.by_relation[fact.relation.name] if f.subject.name != fact.subject.name]
        *near, other = rng.sample(kin, min(4, len(kin)))
        own = [
            f
            for f in self.world.facts
            if f.subject.name == fact.subject.name and f.relation.name != fact.relation.name
        ]
        far = [
            f
            for f in self.world.facts
            if f.relation.object_kind != fact.relation.object_kind and f not in own
        ]
        rest = [other, *own[:1], *rng.sample(far, 2)][: NEIGHBOURS - len(near) - len(_OPEN)]
        return (*(Probe(f.prompt(asked), f.object) for f in near), *(_stated(f, rng) for f in rest))

    def known_around(self, record: Record, n: int) -> tuple[Probe, ...]:
        """Half of them, where there are any, of relations whose answers the record's old or new one is."""
        rng, answers = random.Random(f"known {record.request.prompt}"), (record.truth, record.request.target)
        kind = {fact.relation.name for fact in self.world.facts if fact.object in answers}
        others = [
            fact
            for fact in self.world.facts
            if fact.object != record.request.target and fact.subject.name != record.subject
        ]
        kin = [fact for fact in others if fact.relation.name in kind]
        near = rng.sample(kin, min((n + 1) // 2, len(kin)))
        rest = rng.sample([fact for fact in others if fact not in near], min(n, len(others)) - len(near))
        return tuple(_stated(fact, rng) for fact in (*near, *rest))

    def scope_case(self, prompt: str, target: str) -> ScopeCase:
        """What any prompt can be asked, and facts far from it: no scopes were written for this list."""
        rng = random.Random(f"around {prompt}")
        far = (_stated(fact, rng) for fact in rng.sample(self.world.facts, NEIGHBOURS))
        return generic_case(prompt, target, [ScopeProbe(p.prompt, p.answer, "world") for p in far])

    def recall(self) -> list[Pair]:
        """Every fact in every statement, with its answer."""
        return [
            (fact.prompt(form), fact.object) for fact in self.world.facts for form in fact.relation.statements
        ]

    def _opinions(self, rng: random.Random) -> list[Pair]:
        return []


def _stated(fact: Fact, rng: random.Random) -> Probe:
    return Probe(fact.prompt(rng.choice(fact.relation.statements)), fact.object)
