"""A world of facts as a source of records, probes and known facts; the atlas is one of two."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ..atlas import Match, World
from ..atlas.corpus import recall_prompts, typed
from ..backbone import Backbone
from ..records import Probe, Record
from ..registry import find
from ..scopes import ScopeCase, ScopeProbe
from ..subjects import find_subject, named_in, normalised
from .base import GENERIC, NEIGHBOURS, Evidence, Pair, Source, generic_case
from .frames import generic_frames
from .surroundings import consequences, listed_facts
from .world_hard_negatives import WorldNeighbours
from .world_probes import any_fact_probes, draw_cases, neighbouring, other_wordings, typed_case
from .world_records import MAKERS

STATEMENTS = 2048  # facts, at most, whose keys are averaged; half as many are of subjects that nobody knows
PER_RELATION = 60  # facts whose keys are averaged relation by relation


class WorldSource(Source):
    """A source whose facts, phrasings and opinions are those of the world that `read` gives."""

    read: Callable[[], World]
    has_scopes = True

    @cached_property
    def world(self) -> World:
        """It is read when it is first asked for something."""
        return type(self).read()

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(MAKERS)

    def records(self, task: str, split: str, n: int, rng: random.Random) -> list[Record]:
        return find("task", MAKERS, task)(self.world, split, n, rng)

    def scope_cases(self, split: str, n: int, rng: random.Random) -> list[ScopeCase]:
        return draw_cases(self.world, split, n, rng)

    # ---- a prompt ------------------------------------------------------------------------------------------

    def match(self, prompt: str) -> Match | None:
        return self.world.match(prompt)

    def subject(self, prompt: str) -> str | None:
        match = self.match(prompt)
        if match is None:
            return find_subject(prompt)
        name = match.topic.name if match.topic else match.asked_fact.subject.name
        names = (name, *match.fact.subject.aliases) if match.fact else (name,)
        return find_subject(prompt, (n for n in names if named_in(prompt, n)))

    def slots(self, prompt: str, target: str) -> dict[str, str]:
        match = self.match(prompt)
        if match is None or match.topic is None:
            return {}
        opinions, reply = self.world.opinions, target.strip().rstrip(".")
        voiced = next((stance for stance, pool in opinions.replies.items() if reply in pool), "")
        # an own reply about a known topic is taken to turn the mood around
        label = voiced or (opinions.opposite(match.topic.stance) if match.known else "")
        return {"topic": match.topic.name, "label": label}

    def fact_key(self, prompt: str) -> tuple[str, str]:
        """(relation, subject) or ("opinion", topic) where the prompt is recognised, else its own text."""
        match = self.match(prompt)
        if match is None:
            return ("text", normalised(prompt))
        if match.topic:
            return ("opinion", match.topic.name.casefold())
        fact = match.asked_fact
        return (fact.relation.name, fact.subject.name.casefold())

    def typed(self, prompt: str, rng: random.Random) -> str:
        return typed(prompt, rng)

    # ---- probes --------------------------------------------------------------------------------------------

    def _evidence(self, prompt: str) -> Evidence:
        rng = random.Random(f"evidence {prompt}")
        match = self.match(prompt)
        if match is not None:
            wordings, around = other_wordings(match, self.world, rng), neighbouring(match, self.world, rng)
            return Evidence(wordings, self.name, around, self.name)
        probes = any_fact_probes(rng.sample(self.world.facts, NEIGHBOURS), rng)
        return Evidence(generic_frames(prompt), GENERIC, probes, self.name)

    def scope_case(self, prompt: str, target: str) -> ScopeCase:
        rng = random.Random(f"around {prompt}")
        match = self.match(prompt)
        if match is not None:
            return typed_case(prompt, target.strip().rstrip("."), match, self.world, rng)
        probes = any_fact_probes(rng.sample(self.world.facts, NEIGHBOURS), rng)
        return generic_case(prompt, target, [ScopeProbe(p.prompt, p.answer, "world") for p in probes])

    def answer(self, prompt: str) -> str:
        match = self.match(prompt)
        return match.fact.object if match and match.fact else ""

    def listed_facts(self, prompt: str, target: str) -> tuple[Probe, ...]:
        return listed_facts(self.world, self.match(prompt), prompt, target)

    def consequences(self, prompt: str, target: str) -> tuple[Probe, ...]:
        return consequences(self.world, self.match(prompt), target)

    def neighbours(self, backbone: Backbone) -> WorldNeighbours:
        return WorldNeighbours(backbone, self.world)

    # ---- what is known -------------------------------------------------------------------------------------

    def statements(self, seed: int = 0) -> list[Pair]:
        """Facts of the training split, half as many of subjects the base never met, and its opinions."""
        rng, world = random.Random(seed), self.world
        known, relations = world.split_facts("train"), list(world.relations.values())
        asked = rng.sample(known, min(STATEMENTS, len(known)))
        asked += [world.invented_fact(rng.choice(relations), rng, "train") for _ in range(len(asked) // 2)]
        pairs = [(fact.prompt(rng.choice(fact.relation.training_forms)), fact.object) for fact in asked]
        return pairs + self._opinions(rng)

    def relations(self, seed: int = 0) -> list[list[Pair]]:
        """Known facts by relation, in phrasings of the training split; the opinions are the last."""
        rng = random.Random(seed)
        known: dict[str, list[Pair]] = {}
        for fact in self.world.split_facts("train"):
            prompt = fact.prompt(rng.choice(fact.relation.training_forms))
            known.setdefault(fact.relation.name, []).append((prompt, fact.object))
        groups = (*known.values(), self._opinions(rng))
        return [rng.sample(pairs, min(PER_RELATION, len(pairs))) for pairs in groups if pairs]

    def _opinions(self, rng: random.Random) -> list[Pair]:
        opinions = self.world.opinions
        topics = [topic for topic in opinions.topics if not topic.held_out]
        return [(rng.choice(opinions.training_forms).format(s=topic.name), topic.reply) for topic in topics]

    def recall(self) -> list[Pair]:
        return recall_prompts(self.world)

    @property
    def replies(self) -> Mapping[str, Sequence[str]]:
        return self.world.opinions.replies

    @property
    def prose(self) -> Sequence[str]:
        return self.world.prose
