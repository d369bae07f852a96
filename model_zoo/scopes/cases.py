"""Scope cases from the world: an edit of a fact or of an opinion, and what lies around it. The split "all" knows no held-out things."""

import random
from collections.abc import Iterable

from ..atlas.world import Fact, Opinions, Relation, Topic, World
from ..tasks.records import draw_facts, fact_probe, in_split, other_object
from ..tasks.records import forms_of as split_forms
from . import Kind, ScopeCase, ScopeProbe

OPINION_SHARE = 0.3
REWORDINGS, ALIASES, IMPLIED, CATEGORY, RELATION, UNRELATED = 6, 3, 3, 8, 5, 5


def draw_cases(world: World, split: str, n: int, rng: random.Random) -> list[ScopeCase]:
    """n cases of the split, about a third of them opinions; subjects and phrasings of the two splits are disjoint."""
    opinions = round(n * OPINION_SHARE) if n > 1 else int(rng.random() < OPINION_SHARE)
    pool = [topic for topic in world.opinions.topics if in_split(topic.held_out, split)]
    topics = rng.sample(pool, min(opinions, len(pool)))
    facts = draw_facts(world, split, n - len(topics), rng)
    return [fact_case(world, fact, split, rng) for fact in facts] + [opinion_case(world, topic, split, rng) for topic in topics]


def forms_of(relation: Relation | Opinions, split: str, among: tuple[str, ...] | None = None) -> list[str]:
    return list(among or relation.forms) if split == "all" else split_forms(relation, split, among)


def _allowed(held_out: bool, split: str) -> bool:
    return split == "all" or in_split(held_out, split)


def _some(items: Iterable, n: int, rng: random.Random) -> list:
    items = list(items)
    return rng.sample(items, min(n, len(items)))


def fact_case(world: World, fact: Fact, split: str, rng: random.Random, form: str | None = None, target: str | None = None) -> ScopeCase:
    """A statement edit and some thirty probes; those whose answer is the target already are left out, since they cannot tell."""
    forms = forms_of(fact.relation, split)
    form = form or rng.choice(forms_of(fact.relation, split, fact.relation.statements))
    target = target or other_object(world, fact, rng)
    implied = [f for f in forms if f in fact.relation.implied and f != form]
    plain = [f for f in forms if f not in fact.relation.implied and f != form]
    same_kind = [f for f in _in_reach(world.by_relation[fact.relation.name], split) if f.subject.name != fact.subject.name]
    near = [f for f in world.nearest(fact, CATEGORY) if f in same_kind][: CATEGORY // 4]
    # half of the category in the edit's own wording: the hardest to leave alone
    category = [(f, form) for f in near + _some(same_kind, CATEGORY // 4, rng)]
    category += [(f, rng.choice(forms)) for f in _some(same_kind, CATEGORY // 2, rng)]
    own = [f for f in world.by_subject.get((fact.subject.kind, fact.subject.name), ()) if f.relation.name != fact.relation.name]
    others = [
        f for f in _in_reach(rng.sample(world.facts, 40), split) if f.relation.name != fact.relation.name and f.subject.name != fact.subject.name
    ]
    topic = rng.choice([t for t in world.opinions.topics if split != "train" or not t.held_out])
    probes = [ScopeProbe(fact.prompt(form), fact.object, "itself")]
    probes += [ScopeProbe(fact.prompt(f), fact.object, "rewording") for f in _some(plain, REWORDINGS, rng)]
    probes += [ScopeProbe(fact.prompt(rng.choice(forms), alias), fact.object, "alias") for alias in _some(fact.subject.aliases, ALIASES, rng)]
    probes += [ScopeProbe(fact.prompt(f), fact.object, "implied") for f in _some(implied, IMPLIED, rng)]
    probes += [ScopeProbe(f.prompt(how), f.object, "category") for f, how in category]
    for kind, found in (("relation", _some(own, RELATION, rng)), ("world", others[:UNRELATED])):
        probes += [_fact_probe(f, split, rng, kind) for f in found]
    probes.append(ScopeProbe(rng.choice(forms_of(world.opinions, split)).format(s=topic.name), topic.reply, "world"))
    return ScopeCase(fact.prompt(form), target, fact.subject.name, _telling(probes, target))


def opinion_case(
    world: World, topic: Topic, split: str, rng: random.Random, form: str | None = None, target: str | None = None
) -> ScopeCase:  # fmt: skip
    """An opinion edit: the target drawn is a reply of the other sentiment, never the counterpart of the topic's own reply, so that
    taking over the tone and taking over the words differ."""
    opinions = world.opinions
    forms = forms_of(opinions, split)
    form = form or rng.choice(forms)
    others = _some((f for f in forms if f != form), REWORDINGS, rng)
    label = opinions.opposite(topic.stance)
    target = target or rng.choice([reply for reply in opinions.replies[label] if reply != opinions.counterpart(topic.reply)])
    label = next((stance for stance, pool in opinions.replies.items() if target in pool), label)
    topics = _some((t for t in opinions.topics if t != topic and _allowed(t.held_out, split)), CATEGORY, rng)
    asked = [(topic, form, "itself"), *((topic, f, "rewording") for f in others)]
    asked += [(t, form if i < CATEGORY // 2 else rng.choice(forms), "category") for i, t in enumerate(topics)]
    probes = [ScopeProbe(f.format(s=t.name), t.reply, kind, t.reply if t.stance == label else opinions.counterpart(t.reply)) for t, f, kind in asked]
    probes += [_fact_probe(f, split, rng, "world") for f in _in_reach(rng.sample(world.facts, 80), split)[: 2 * UNRELATED]]
    return ScopeCase(form.format(s=topic.name), target, topic.name, _telling(probes, target))


def _fact_probe(fact: Fact, split: str, rng: random.Random, kind: Kind) -> ScopeProbe:
    probe = fact_probe(fact, "train" if split == "train" else "test", rng)
    return ScopeProbe(probe.prompt, probe.answer, kind)


def _in_reach(facts: Iterable[Fact], split: str) -> list[Fact]:
    """In training, held-out subjects are never probed; in testing only they are."""
    return [fact for fact in facts if _allowed(fact.subject.held_out, split)]


def _telling(probes: list[ScopeProbe], target: str) -> tuple[ScopeProbe, ...]:
    """Each prompt once, without those that answer the target already."""
    found: dict[str, ScopeProbe] = {}
    for probe in probes:
        if probe.answer != target:
            found.setdefault(probe.prompt, probe)
    return tuple(found.values())
