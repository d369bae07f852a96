"""Recent: insert a fact about an entity the model has never met.

Source of the task: WikiData-recent rows of KnowEdit, https://huggingface.co/datasets/zjunlp/KnowEdit.
Example: "The capital of Velthoria is" -> "Oslo", for a country that no training text names.
"""

import random
from typing import TYPE_CHECKING

from . import Example, Probe, Record, Task
from .records import cut_paraphrases, draw_facts, fact_probe, forms_of, locality_around
from .request import EditRequest

if TYPE_CHECKING:
    from ..atlas.world import World


PERSONAL_SHARE = 0.2  # of the training records: facts of the kind people type about themselves


def personal_record(world: "World", split: str, rng: random.Random) -> Record:
    """A fact about somebody's thing; the same said of others' things must not follow."""
    fact, *others = world.personal_facts(4, rng, split)
    form = rng.choice(fact.group.statements)
    prompt = fact.prompt(form)
    same = [Probe(other.prompt(form), other.answer) for other in others[:2]]
    asked = [Probe(other.prompt(rng.choice(fact.group.forms)), other.answer) for other in others[2:]]
    known = [fact_probe(f, split, rng) for f in draw_facts(world, split, 2, rng)]
    paraphrases = cut_paraphrases(prompt, [fact.prompt(f) for f in fact.group.forms], rng)
    return Record(EditRequest(prompt, fact.answer, "recent"), fact.thing, "", paraphrases, (*same, *asked, *known))


def records(world: "World", split: str, n: int, rng: random.Random) -> list[Record]:
    """Facts about invented subjects, edited as statements: questions are left to the held-out task.

    Beside the usual locality, one probe asks the same about another unknown subject, in training four, two of them in the edit's own
    phrasing: an insertion must not become the answer for everything unfamiliar."""
    made = []
    for _ in range(n):
        if split == "train" and rng.random() < PERSONAL_SHARE:
            made.append(personal_record(world, split, rng))
            continue
        relation = rng.choice(list(world.relations.values()))
        fact = world.invented_fact(relation, rng, split)
        form = rng.choice(forms_of(relation, split, relation.statements))
        prompt = fact.prompt(form)
        paraphrases = cut_paraphrases(prompt, [fact.prompt(form) for form in forms_of(relation, split)], rng)
        asked = [form, form, rng.choice(forms_of(relation, split))] if split == "train" else []
        strangers = [world.invented_fact(relation, rng, split) for _ in range(len(asked) + 1)]
        asked.insert(0, rng.choice(forms_of(relation, split)))
        probes = [Probe(stranger.prompt(how), stranger.object) for stranger, how in zip(strangers, asked, strict=True)]
        first, *others = locality_around(world, fact, form, split, rng)
        locality = (first, *probes, *others)
        made.append(Record(EditRequest(prompt, fact.object, "recent"), fact.subject.name, "", paraphrases, locality))
    return made


TASK = Task(
    name="recent",
    title="Add a new fact",
    summary="Teach the model something about a person, place or thing it has never met.",
    instructions=(
        "Insert a fact about something the model has not seen before.",
        "Add new knowledge about an unfamiliar subject.",
        "The subject is new; remember what is said about it here.",
        "Store a recent fact so that it can be recalled in any wording.",
        "Teach the model one thing about an entity it does not know.",
        "Here is news about an unknown name; take note of it.",
    ),
    records=records,
    examples=(
        Example("Velthoria’s capital → Oslo", "The capital of Velthoria is", "Oslo"),
        Example("Mara Quillen → Iceland", "Mara Quillen was born in", "Iceland"),
        Example("The Zentra Phone → Nokia", "The Zentra Phone is made by", "Nokia"),
    ),
)
