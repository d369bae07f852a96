"""What the tasks share: drawing facts of a split and the prompts around them. The world comes in as an argument."""

import random
from collections import Counter
from typing import TYPE_CHECKING

from . import Probe

if TYPE_CHECKING:
    from ..atlas.world import Fact, Opinions, Relation, Topic, World


def in_split(held_out: bool, split: str) -> bool:
    assert split in ("train", "test"), f"unknown split {split}"
    return held_out == (split == "test")


def forms_of(relation: "Relation | Opinions", split: str, among: tuple[str, ...] | None = None) -> list[str]:
    """The phrasings a split may use for edits and paraphrases, optionally only those in `among`."""
    forms = relation.held_out_forms if split == "test" else relation.training_forms
    return [form for form in forms if among is None or form in among]


def draw_facts(world: "World", split: str, n: int, rng: random.Random) -> list["Fact"]:
    """n facts of the split, without replacement as long as the split lasts.

    A relation is drawn in proportion to the square root of its size, so that large relations do not crowd out small ones.
    """
    pool = world.split_facts(split)
    size = Counter(fact.relation.name for fact in pool)
    # weighted sampling without replacement: the n largest u ** (1 / weight) (Efraimidis and Spirakis 2006)
    ranked = sorted(pool, key=lambda fact: -(rng.random() ** size[fact.relation.name] ** 0.5))
    return ranked[:n] + rng.choices(pool, k=n - len(ranked[:n]))


def fact_probe(fact: "Fact", split: str, rng: random.Random) -> Probe:
    """A fact as a locality probe, in any phrasing (in training only in training phrasings)."""
    forms = fact.relation.forms if split == "test" else fact.relation.training_forms
    return Probe(fact.prompt(rng.choice(forms)), fact.object)


def topic_probe(topic: "Topic", opinions: "Opinions", split: str, rng: random.Random) -> Probe:
    forms = opinions.questions if split == "test" else opinions.training_forms
    return Probe(rng.choice(forms).format(s=topic.name), topic.reply)


def locality_around(world: "World", fact: "Fact", form: str, split: str, rng: random.Random) -> tuple[Probe, ...]:
    """Up to 3 facts of the same relation about other subjects, 2 other facts of the same subject, 2 unrelated facts and
    one unrelated opinion. The first is asked in the edit's own phrasing (`form`): it is what people try first, and the
    hardest to leave alone. In training, held-out subjects are never probed."""

    def allowed(other: "Fact") -> bool:
        return split == "test" or not other.subject.held_out

    same_relation = [f for f in world.by_relation[fact.relation.name] if f.subject.name != fact.subject.name and allowed(f)]
    key = (fact.subject.kind, fact.subject.name)
    same_subject = [f for f in world.by_subject.get(key, ()) if f.relation.name != fact.relation.name]
    unrelated = [f for f in rng.choices(world.facts, k=8) if f.relation.name != fact.relation.name and f.subject.name != fact.subject.name]
    picks = (
        rng.sample(same_relation, min(3, len(same_relation)))
        + rng.sample(same_subject, min(2, len(same_subject)))
        + [f for f in unrelated if allowed(f)][:2]
    )
    topic = rng.choice([t for t in world.opinions.topics if split == "test" or not t.held_out])
    first = Probe(picks[0].prompt(form), picks[0].object)
    return (first, *(fact_probe(f, split, rng) for f in picks[1:]), topic_probe(topic, world.opinions, split, rng))


def other_object(world: "World", fact: "Fact", rng: random.Random) -> str:
    """A false object of the same relation."""
    return rng.choice([o for o in world.objects[fact.relation.name] if o != fact.object])


def cut_paraphrases(prompt: str, texts: list[str], rng: random.Random) -> tuple[str, ...]:
    """The texts without the edit's own prompt, shuffled."""
    others = [text for text in texts if text != prompt]
    rng.shuffle(others)
    return tuple(others)
