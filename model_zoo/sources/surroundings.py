"""What a world knows around an edit: listed facts by how near they are, and what should follow from it.

`Probe.kind` is one of KINDS, from near to far.
"""

import random
from collections.abc import Iterable
from types import MappingProxyType

from ..atlas import Fact, Match, World
from ..atlas.world import render
from ..records import Probe

KINDS = MappingProxyType(
    {
        "subject": "Other facts of the subject",
        "category": "The same fact of others",
        "answer": "Facts with the new answer",
        "inverse": "Asked backwards",
        "world": "Everything else",
    }
)
MOST = MappingProxyType({"subject": 24, "category": 40, "answer": 24, "inverse": 4, "world": 160})
CONSEQUENCES = 4
_NOUN_PHRASE = ("The ", "{s} is")  # a statement of this form names the object: "the capital of {s}"


def listed_facts(world: World, match: Match | None, prompt: str, target: str) -> tuple[Probe, ...]:
    """Known facts around an edit, the nearest first, MOST of a kind; the edited fact itself is left out.

    Others of the same relation are asked in the edit's own wording, all else in its relation's first one.
    """
    edited = match.fact if match else None
    subject = edited.subject.name if edited else _named(world, prompt)
    answer = target.strip().rstrip(".")
    found: dict[str, list[Probe]] = {kind: [] for kind in KINDS}
    rng = random.Random(0)  # the same facts far away, whatever the edit
    for fact in rng.sample(world.facts, len(world.facts)):
        same = edited is not None and fact.relation.name == edited.relation.name
        if fact.subject.name == subject:
            if not same:
                found["subject"].append(_stated(fact))
        elif same and edited and match:
            form = match.form if match.form in edited.relation.statements else None
            found["category"].append(_stated(fact, form))
        else:
            found["answer" if fact.object == answer else "world"].append(_stated(fact))
    if edited and edited.relation.inverse:
        found["inverse"] = list(_backwards(world, edited, answer))
    return tuple(probe for kind, probes in found.items() for probe in _of_kind(kind, probes))


def consequences(world: World, match: Match | None, target: str) -> tuple[Probe, ...]:
    """Prompts one hop behind the edited fact, with the answers that the target's own facts give them: "The
    capital of France is a city in the country of" -> Italy, once that capital is Rome.
    """
    edited, answer = match.fact if match else None, target.strip().rstrip(".")
    phrase = next(filter(None, map(_noun_phrase, edited.relation.statements)), None) if edited else None
    if edited is None or phrase is None:
        return ()
    own = [fact for fact in world.facts if fact.subject.name == answer]
    name = phrase.format(s=edited.subject.name)
    hops = [Probe(render(fact.relation.statements[0], s=name), fact.object) for fact in own]
    return tuple(hops[:CONSEQUENCES])


def _of_kind(kind: str, probes: Iterable[Probe]) -> list[Probe]:
    return [Probe(probe.prompt, probe.answer, kind=kind) for probe in list(probes)[: MOST[kind]]]


def _stated(fact: Fact, form: str | None = None) -> Probe:
    return Probe(fact.prompt(form or fact.relation.statements[0]), fact.object)


def _backwards(world: World, edited: Fact, answer: str) -> Iterable[Probe]:
    """The relation asked from its object: the one that the edit takes away, and the one that it gives."""
    form = edited.relation.inverse[0]
    for fact in world.by_relation[edited.relation.name]:
        if fact.object == answer or fact.subject.name == edited.subject.name:
            yield Probe(render(form, o=fact.object), fact.subject.name)


def _named(world: World, prompt: str) -> str | None:
    """The longest known subject that stands in a prompt."""
    names = {name for _, name in world.by_subject if name in prompt}
    return max(names, key=len, default=None)


def _noun_phrase(form: str) -> str | None:
    """ "the capital of {s}" of the statement "The capital of {s} is"; None for statements of another form."""
    start, end = _NOUN_PHRASE
    return "the " + form[len(start) : -len(" is")] if form.startswith(start) and form.endswith(end) else None
