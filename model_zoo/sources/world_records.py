"""Records of every task, drawn from a world: one function per task and one line in MAKERS."""

import random
from collections.abc import Callable
from types import MappingProxyType

from ..atlas import Fact, World
from ..records import Probe, Record
from ..request import EditRequest
from ..tasks.convsent import CONVSENT
from ..tasks.counterfact import COUNTERFACT
from ..tasks.recent import RECENT
from ..tasks.zsre import ZSRE
from .world_probes import (
    draw_facts,
    fact_probe,
    forms_of,
    in_split,
    locality_around,
    other_object,
    topic_probe,
)

PERSONAL_SHARE = 0.2  # of `recent`'s training records: facts of the kind people type about themselves


def shuffled_paraphrases(prompt: str, texts: list[str], rng: random.Random) -> tuple[str, ...]:
    """The texts without the edit's own prompt, shuffled."""
    others = [text for text in texts if text != prompt]
    rng.shuffle(others)
    return tuple(others)


def counterfact_records(world: World, split: str, n: int, rng: random.Random) -> list[Record]:
    """Statement edits; paraphrases are statements and questions, in training also under the subject's
    aliases.
    """
    made = []
    for fact in draw_facts(world, split, n, rng):
        form = rng.choice(forms_of(fact.relation, split, fact.relation.statements))
        prompt = fact.prompt(form)
        names = (fact.subject.name, *fact.subject.aliases)
        wordings = [fact.prompt(other, rng.choice(names)) for other in forms_of(fact.relation, split)]
        paraphrases = shuffled_paraphrases(prompt, wordings, rng)
        request = EditRequest(prompt, other_object(world, fact, rng), COUNTERFACT.name)
        locality = locality_around(world, fact, form, split, rng)
        made.append(Record(request, fact.subject.name, fact.object, paraphrases, locality))
    return made


def zsre_records(world: World, split: str, n: int, rng: random.Random) -> list[Record]:
    """Question edits with question paraphrases."""
    made = []
    for fact in draw_facts(world, split, n, rng):
        questions = forms_of(fact.relation, split, fact.relation.questions)
        form = rng.choice(questions)
        prompt = fact.prompt(form)
        paraphrases = shuffled_paraphrases(prompt, [fact.prompt(other) for other in questions], rng)
        request = EditRequest(prompt, other_object(world, fact, rng), ZSRE.name)
        locality = locality_around(world, fact, form, split, rng)
        made.append(Record(request, fact.subject.name, fact.object, paraphrases, locality))
    return made


def recent_records(world: World, split: str, n: int, rng: random.Random) -> list[Record]:
    """Facts about invented subjects, edited as statements: questions are left to the held-out task.

    Beside the usual locality, one probe asks the same about another unknown subject, in training four, two of
    them in the edit's own phrasing: an insertion must not become the answer for everything unfamiliar.
    """
    made = []
    for _ in range(n):
        if split == "train" and rng.random() < PERSONAL_SHARE:
            made.append(_personal_record(world, split, rng))
            continue
        relation = rng.choice(list(world.relations.values()))
        fact = world.invented_fact(relation, rng, split)
        form = rng.choice(forms_of(relation, split, relation.statements))
        prompt = fact.prompt(form)
        wordings = [fact.prompt(other) for other in forms_of(relation, split)]
        paraphrases = shuffled_paraphrases(prompt, wordings, rng)
        strangers = _strangers(world, fact, form, split, rng)
        first, *others = locality_around(world, fact, form, split, rng)
        request = EditRequest(prompt, fact.object, RECENT.name)
        made.append(Record(request, fact.subject.name, "", paraphrases, (first, *strangers, *others)))
    return made


def _strangers(world: World, fact: Fact, form: str, split: str, rng: random.Random) -> list[Probe]:
    """The same asked about other unknown subjects."""
    relation = fact.relation
    asked = [form, form, rng.choice(forms_of(relation, split))] if split == "train" else []
    facts = [world.invented_fact(relation, rng, split) for _ in range(len(asked) + 1)]
    asked.insert(0, rng.choice(forms_of(relation, split)))
    return [Probe(other.prompt(how), other.object) for other, how in zip(facts, asked, strict=True)]


def _personal_record(world: World, split: str, rng: random.Random) -> Record:
    """A fact about somebody's thing; the same said of others' things must not follow."""
    fact, *others = world.personal_facts(4, rng, split)
    form = rng.choice(fact.group.statements)
    prompt = fact.prompt(form)
    same = [Probe(other.prompt(form), other.answer) for other in others[:2]]
    asked = [Probe(other.prompt(rng.choice(fact.group.forms)), other.answer) for other in others[2:]]
    known = [fact_probe(f, split, rng) for f in draw_facts(world, split, 2, rng)]
    paraphrases = shuffled_paraphrases(prompt, [fact.prompt(other) for other in fact.group.forms], rng)
    request = EditRequest(prompt, fact.answer, RECENT.name)
    return Record(request, fact.thing, "", paraphrases, (*same, *asked, *known))


def convsent_records(world: World, split: str, n: int, rng: random.Random) -> list[Record]:
    """Opinion edits: the target is one of the replies of the other sentiment."""
    opinions = world.opinions
    pool = [topic for topic in opinions.topics if in_split(topic.held_out, split)]
    made = []
    for topic in rng.sample(pool, min(n, len(pool))) + rng.choices(pool, k=max(0, n - len(pool))):
        label = opinions.opposite(topic.stance)
        forms = forms_of(opinions, split)
        prompt = rng.choice(forms).format(s=topic.name)
        paraphrases = shuffled_paraphrases(prompt, [form.format(s=topic.name) for form in forms], rng)
        others = [t for t in opinions.topics if t != topic and (split == "test" or not t.held_out)]
        locality = tuple(topic_probe(t, opinions, split, rng) for t in rng.sample(others, 5))
        locality += tuple(fact_probe(f, split, rng) for f in draw_facts(world, split, 3, rng))
        request = EditRequest(prompt, rng.choice(opinions.replies[label]), CONVSENT.name)
        slots = (("label", label), ("topic", topic.name))
        replies = tuple(opinions.replies.items())
        made.append(Record(request, topic.name, topic.reply, paraphrases, locality, slots, replies=replies))
    return made


Maker = Callable[[World, str, int, random.Random], list[Record]]
MAKERS: MappingProxyType[str, Maker] = MappingProxyType(
    {
        COUNTERFACT.name: counterfact_records,
        RECENT.name: recent_records,
        CONVSENT.name: convsent_records,
        ZSRE.name: zsre_records,
    }
)
