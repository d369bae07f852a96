"""Who is near an edit in a world: phrasings of a split, the prompts around a fact or an opinion, near and
far.

Every function takes the world and draws from the generator that it is given. Splits are "train" and "test",
with disjoint subjects and phrasings; "all" knows no held-out things and is for edits that people type.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from ..atlas import Fact, Match, Opinions, Relation, Topic, World
from ..records import Probe
from ..scopes import Kind, ScopeCase, ScopeProbe
from .base import NEIGHBOURS, PARAPHRASES

NEAREST = 2  # of the neighbours shown beside an edit are the nearest subjects
OPINION_SHARE = 0.3  # of scope cases
REWORDINGS, ALIASES, IMPLIED, CATEGORY, RELATION, UNRELATED = (
    6,
    3,
    3,
    8,
    5,
    5,
)  # probes of a scope case, by kind


# ---- splits ------------------------------------------------------------------------------------------------


def in_split(held_out: bool, split: str) -> bool:
    assert split in ("train", "test"), f"unknown split {split}"
    return held_out == (split == "test")


def forms_of(relation: Relation | Opinions, split: str, among: tuple[str, ...] | None = None) -> list[str]:
    """The phrasings a split may use for edits and paraphrases, optionally only those in `among`."""
    if split == "all":
        return list(among or relation.forms)
    forms = relation.held_out_forms if split == "test" else relation.training_forms
    return [form for form in forms if among is None or form in among]


def draw_facts(world: World, split: str, n: int, rng: random.Random) -> list[Fact]:
    """n facts of the split, without replacement as long as the split lasts.

    A relation is drawn in proportion to the square root of its size, so that large relations do not crowd out
    small ones.
    """
    pool = world.split_facts(split)
    size = Counter(fact.relation.name for fact in pool)
    # weighted sampling without replacement: the n largest u ** (1 / weight) (Efraimidis and Spirakis 2006)
    ranked = sorted(pool, key=lambda fact: -(rng.random() ** size[fact.relation.name] ** 0.5))
    return ranked[:n] + rng.choices(pool, k=n - len(ranked[:n]))


def other_object(world: World, fact: Fact, rng: random.Random) -> str:
    """A false object of the same relation."""
    return rng.choice([o for o in world.objects[fact.relation.name] if o != fact.object])


# ---- probes of a record ------------------------------------------------------------------------------------


def fact_probe(fact: Fact, split: str, rng: random.Random) -> Probe:
    """A fact as a locality probe, in any phrasing (in training only in training phrasings)."""
    forms = fact.relation.forms if split == "test" else fact.relation.training_forms
    return Probe(fact.prompt(rng.choice(forms)), fact.object)


def topic_probe(topic: Topic, opinions: Opinions, split: str, rng: random.Random) -> Probe:
    """An opinion as a locality probe."""
    forms = opinions.questions if split == "test" else opinions.training_forms
    return Probe(rng.choice(forms).format(s=topic.name), topic.reply)


def any_fact_probes(facts: Iterable[Fact], rng: random.Random) -> tuple[Probe, ...]:
    """Each fact in any phrasing of its relation."""
    return tuple(Probe(fact.prompt(rng.choice(fact.relation.forms)), fact.object) for fact in facts)


def locality_around(world: World, fact: Fact, form: str, split: str, rng: random.Random) -> tuple[Probe, ...]:
    """Up to 3 facts of the same relation about other subjects, 2 other facts of the same subject, 2 unrelated
    facts and one unrelated opinion. The first is asked in the edit's own phrasing (`form`): it is what people
    try first, and the hardest to leave alone. In training, held-out subjects are never probed.
    """

    def allowed(other: Fact) -> bool:
        return split == "test" or not other.subject.held_out

    same_relation = [f for f in _others_of_its_kind(world, fact) if allowed(f)]
    same_subject = _others_of_its_subject(world, fact)
    unrelated = [f for f in rng.choices(world.facts, k=8) if _is_unrelated(f, fact)]
    picks = (
        rng.sample(same_relation, min(3, len(same_relation)))
        + rng.sample(same_subject, min(2, len(same_subject)))
        + [f for f in unrelated if allowed(f)][:2]
    )
    topic = rng.choice([t for t in world.opinions.topics if split == "test" or not t.held_out])
    first = Probe(picks[0].prompt(form), picks[0].object)
    others = (fact_probe(f, split, rng) for f in picks[1:])
    return (first, *others, topic_probe(topic, world.opinions, split, rng))


def _others_of_its_kind(world: World, fact: Fact) -> list[Fact]:
    return [f for f in world.by_relation[fact.relation.name] if f.subject.name != fact.subject.name]


def _others_of_its_subject(world: World, fact: Fact) -> list[Fact]:
    own = world.by_subject.get((fact.subject.kind, fact.subject.name), ())
    return [f for f in own if f.relation.name != fact.relation.name]


def _is_unrelated(other: Fact, fact: Fact) -> bool:
    return other.relation.name != fact.relation.name and other.subject.name != fact.subject.name


# ---- evidence beside a typed edit --------------------------------------------------------------------------


def other_wordings(match: Match, world: World, rng: random.Random) -> tuple[str, ...]:
    """Other phrasings of a recognised prompt: of an opinion any, of a fact half of them questions."""
    if match.topic:
        forms = [form for form in world.opinions.questions if form != match.form]
        return tuple(form.format(s=match.topic.name) for form in rng.sample(forms, PARAPHRASES))
    fact = match.asked_fact
    relation, half = fact.relation, PARAPHRASES // 2
    forms = rng.sample([f for f in relation.statements if f != match.form], half)
    forms += rng.sample([f for f in relation.questions if f != match.form], PARAPHRASES - half)
    return tuple(fact.prompt(form) for form in forms)


def neighbouring(match: Match, world: World, rng: random.Random) -> tuple[Probe, ...]:
    """What lies around a recognised prompt and should stay."""
    if match.fact:
        # what people try first, and the hardest to leave alone: the nearest subjects in the edit's own
        # wording
        near = tuple(Probe(f.prompt(match.form), f.object) for f in world.nearest(match.fact, NEAREST))
        _, *around = locality_around(world, match.fact, match.form, "test", rng)
        return (*near, *(probe for probe in around if probe not in near))[:NEIGHBOURS]
    topics = rng.sample([t for t in world.opinions.topics if t != match.topic], 4)
    facts = rng.sample(world.facts, NEIGHBOURS - len(topics))
    probes = tuple(topic_probe(t, world.opinions, "test", rng) for t in topics)
    return probes + any_fact_probes(facts, rng)


# ---- scope cases -------------------------------------------------------------------------------------------


def draw_cases(world: World, split: str, n: int, rng: random.Random) -> list[ScopeCase]:
    """n cases of the split, about a third of them opinions; subjects and phrasings of the two splits are
    disjoint.
    """
    opinions = round(n * OPINION_SHARE) if n > 1 else int(rng.random() < OPINION_SHARE)
    pool = [topic for topic in world.opinions.topics if in_split(topic.held_out, split)]
    topics = rng.sample(pool, min(opinions, len(pool)))
    facts = draw_facts(world, split, n - len(topics), rng)
    cases = [fact_case(world, fact, split, rng) for fact in facts]
    return cases + [opinion_case(world, topic, split, rng) for topic in topics]


def fact_case(
    world: World,
    fact: Fact,
    split: str,
    rng: random.Random,
    form: str | None = None,
    target: str | None = None,
) -> ScopeCase:
    """A statement edit and some thirty probes; those whose answer is the target already are left out: they
    cannot tell.
    """
    relation, subject = fact.relation, fact.subject
    forms = forms_of(relation, split)
    form = form or rng.choice(forms_of(relation, split, relation.statements))
    target = target or other_object(world, fact, rng)
    implied = [f for f in forms if f in relation.implied and f != form]
    plain = [f for f in forms if f not in relation.implied and f != form]
    category = _category(world, fact, split, rng, form, forms)
    own = _others_of_its_subject(world, fact)
    others = [f for f in _in_reach(rng.sample(world.facts, 40), split) if _is_unrelated(f, fact)]
    topic = rng.choice([t for t in world.opinions.topics if split != "train" or not t.held_out])

    probes = [ScopeProbe(fact.prompt(form), fact.object, "itself")]
    probes += [ScopeProbe(fact.prompt(f), fact.object, "rewording") for f in _some(plain, REWORDINGS, rng)]
    for alias in _some(subject.aliases, ALIASES, rng):
        probes.append(ScopeProbe(fact.prompt(rng.choice(forms), alias), fact.object, "alias"))
    probes += [ScopeProbe(fact.prompt(f), fact.object, "implied") for f in _some(implied, IMPLIED, rng)]
    probes += [ScopeProbe(f.prompt(how), f.object, "category") for f, how in category]
    far: list[tuple[Kind, list[Fact]]] = [
        ("relation", _some(own, RELATION, rng)),
        ("world", others[:UNRELATED]),
    ]
    for kind, found in far:
        probes += [_scope_probe(f, split, rng, kind) for f in found]
    asked = rng.choice(forms_of(world.opinions, split)).format(s=topic.name)
    probes.append(ScopeProbe(asked, topic.reply, "world"))
    return ScopeCase(fact.prompt(form), target, subject.name, _telling(probes, target))


def _category(
    world: World, fact: Fact, split: str, rng: random.Random, form: str, forms: list[str]
) -> list[tuple[Fact, str]]:
    """Others of the fact's kind, each with its phrasing: half in the edit's own, the hardest to spare."""
    same_kind = _in_reach(_others_of_its_kind(world, fact), split)
    near = [f for f in world.nearest(fact, CATEGORY) if f in same_kind][: CATEGORY // 4]
    category = [(f, form) for f in near + _some(same_kind, CATEGORY // 4, rng)]
    return category + [(f, rng.choice(forms)) for f in _some(same_kind, CATEGORY // 2, rng)]


def opinion_case(
    world: World,
    topic: Topic,
    split: str,
    rng: random.Random,
    form: str | None = None,
    target: str | None = None,
) -> ScopeCase:
    """An opinion edit. The target drawn is a reply of the other sentiment, never the counterpart of the
    topic's own reply, so that taking over the tone and taking over the words differ.
    """
    opinions = world.opinions
    forms = forms_of(opinions, split)
    form = form or rng.choice(forms)
    rewordings = _some((f for f in forms if f != form), REWORDINGS, rng)
    label = opinions.opposite(topic.stance)
    if not target:
        replies = [reply for reply in opinions.replies[label] if reply != opinions.counterpart(topic.reply)]
        target = rng.choice(replies)
    label = next((stance for stance, pool in opinions.replies.items() if target in pool), label)
    topics = _some((t for t in opinions.topics if t != topic and _allowed(t.held_out, split)), CATEGORY, rng)

    asked: list[tuple[Topic, str, Kind]] = [
        (topic, form, "itself"),
        *((topic, f, "rewording") for f in rewordings),
    ]
    asked += [(t, form if i < CATEGORY // 2 else rng.choice(forms), "category") for i, t in enumerate(topics)]
    probes = []
    for about, how, kind in asked:
        toned = about.reply if about.stance == label else opinions.counterpart(about.reply)
        probes.append(ScopeProbe(how.format(s=about.name), about.reply, kind, toned))
    far = _in_reach(rng.sample(world.facts, 80), split)[: 2 * UNRELATED]
    probes += [_scope_probe(f, split, rng, "world") for f in far]
    return ScopeCase(form.format(s=topic.name), target, topic.name, _telling(probes, target))


def typed_case(prompt: str, target: str, match: Match, world: World, rng: random.Random) -> ScopeCase:
    """The case of a typed edit whose wording the world knows.

    Subjects that the world does not know have answers that only the model can tell.
    """
    if match.topic is not None:
        topic = match.topic if match.known else _like_the_others(match.topic, target, world)
        found = opinion_case(world, topic, "all", rng, match.form, target)
    else:
        found = fact_case(world, match.asked_fact, "all", rng, match.form, target)
    itself = next(
        (probe for probe in found.probes if probe.kind == "itself"), ScopeProbe(prompt, "", "itself")
    )
    others = tuple(probe for probe in found.probes if probe.kind != "itself")
    return replace(found, prompt=prompt, probes=(replace(itself, prompt=prompt), *others))


def _like_the_others(topic: Topic, target: str, world: World) -> Topic:
    """A topic that the world does not know, with the stance that the target would turn around."""
    opinions = world.opinions
    wanted = next((stance for stance, pool in opinions.replies.items() if target in pool), "positive")
    stance = opinions.opposite(wanted)
    return replace(topic, stance=stance, reply=opinions.replies[stance][0])


def _allowed(held_out: bool, split: str) -> bool:
    return split == "all" or in_split(held_out, split)


def _some(items: Iterable, n: int, rng: random.Random) -> list:
    items = list(items)
    return rng.sample(items, min(n, len(items)))


def _scope_probe(fact: Fact, split: str, rng: random.Random, kind: Kind) -> ScopeProbe:
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
