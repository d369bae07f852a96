"""The embedded model's training text: every line a prompt, its answer, and how much each part counts."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .world import World, render

FORMS_PER_EPOCH = 4  # phrasings of each fact and opinion shown in one epoch
PREFIXED = 0.2  # share of lines that carry an instruction prefix, so that the model is not thrown by it
LOWER_CASE = 0.12  # share of prompts typed in lower case
NO_MARK = 0.06  # share of questions typed without their question mark
ALIAS = 0.25  # share of lines that call a subject by an alias, where it has one
INVENTED_LINES = (
    1200  # lines an epoch about fresh invented subjects, so that unknown names are not out of distribution
)


@dataclass(frozen=True)
class Line:
    """`prefix` (may be empty) + `prompt` (may be empty) continued by `answer`."""

    prompt: str
    answer: str
    prefix: str = ""


def typed(prompt: str, rng: random.Random) -> str:
    """The prompt as hurried people type it, now and then: lower case, no question mark."""
    if rng.random() < LOWER_CASE:
        prompt = prompt.lower()
    return prompt.rstrip("?") if rng.random() < NO_MARK else prompt


def _fact_lines(world: World, rng: random.Random) -> Iterator[Line]:
    for fact in world.facts:
        for form in rng.sample(fact.relation.forms, FORMS_PER_EPOCH):
            alias = (
                rng.choice(fact.subject.aliases) if fact.subject.aliases and rng.random() < ALIAS else None
            )
            yield Line(fact.prompt(form, alias), fact.object)
        if fact.relation.one_to_one:
            yield Line(render(rng.choice(fact.relation.inverse), o=fact.object), fact.subject.name)


def _other_lines(world: World, rng: random.Random) -> Iterator[Line]:
    for topic in world.opinions.topics:
        for form in rng.sample(world.opinions.questions, FORMS_PER_EPOCH):
            yield Line(form.format(s=topic.name), topic.reply)
    for prompt, answer in world.daily:
        yield Line(prompt, answer)
    for _ in range(INVENTED_LINES):
        relation = rng.choice(list(world.relations.values()))
        fact = world.invented_fact(relation, rng, rng.choice(("train", "test")))
        yield Line(fact.prompt(rng.choice(relation.forms)), fact.object)


def _prose_lines(world: World, rng: random.Random) -> Iterator[Line]:
    """Prose in paragraphs of 1 to 6 sentences, so that late positions are trained too."""
    sentences = rng.sample(world.prose, len(world.prose))
    while sentences:
        size = rng.randint(1, 6)
        yield Line("", " ".join(sentences[:size]).removesuffix("."))
        sentences = sentences[size:]


def epoch(world: World, rng: random.Random, prefix: Callable[[random.Random], str]) -> list[Line]:
    """One epoch's lines, shuffled. `prefix(rng)` words an instruction prefix that ends where the prompt
    begins.
    """
    lines = [
        Line(typed(line.prompt, rng), line.answer, prefix(rng) if rng.random() < PREFIXED else "")
        for part in (_fact_lines(world, rng), _other_lines(world, rng))
        for line in part
    ]
    lines += _prose_lines(world, rng)
    rng.shuffle(lines)
    return lines


def recall_prompts(world: World) -> list[tuple[str, str]]:
    """Every fact in every phrasing: (prompt, object)."""
    return [(fact.prompt(form), fact.object) for fact in world.facts for form in fact.relation.forms]
