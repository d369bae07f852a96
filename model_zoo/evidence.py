"""Which prompts show whether an edit holds and stays local: from its record, from the atlas, or generic frames, so labelled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .atlas.world import Match, Topic, World, normalised
from .scopes import ScopeCase, ScopeProbe
from .scopes.cases import fact_case, opinion_case
from .tasks import Probe, Record
from .tasks.records import locality_around, topic_probe

Source = Literal["record", "atlas", "generic"]
PARAPHRASES, NEIGHBOURS = 4, 8
NEAREST = 2  # of the neighbours

_STATEMENT_FRAMES = ("As everyone knows, {p}", "It is a fact that {p}", "Let me tell you: {p}")
_QUESTION_FRAMES = ("Tell me: {p}", "Here is a question. {p}", "Please answer: {p}")
_NEUTRAL = (
    "The opposite of hot is",
    "Two plus two is",
    "The day after Monday is",
    "In the morning I drink",
    "The colour of grass is",
    "A week has seven",
    "Once upon a time there was",
    "The sun rises in the",
)
_LOWERABLE = frozenset(
    (
        "a an the in on at of my our your his her its their this that these those what who whom whose which when where why how "
        "is are was were do does did can if"
    ).split()
)


@dataclass(frozen=True)
class Evidence:
    """Prompts that should follow the edit, and probes that should not change, each with its source."""

    generality: tuple[str, ...]
    generality_source: Source
    locality: tuple[Probe, ...]
    locality_source: Source


def gather(prompt: str, world: World | None, record: Record | None = None, edited: Sequence[str] = ()) -> Evidence:
    """The best evidence at hand for an edit's prompt; the same prompt always gives the same evidence.

    Probes of facts that other edits change (their prompts are `edited`) are left out: those are meant to move.
    """
    found = _gather(prompt, world, record)
    claimed = {claim(p, world) for p in (prompt, *edited)}
    return replace(found, locality=tuple(probe for probe in found.locality if claim(probe.prompt, world) not in claimed))


def claim(prompt: str, world: World | None) -> tuple[str, str]:
    """What a prompt is about: (relation, subject) or ("opinion", topic) where it is recognised, else its own text."""
    match = world.match(prompt) if world else None
    if match is None:
        return ("text", normalised(prompt))
    if match.topic:
        return ("opinion", match.topic.name.casefold())
    return (match.fact.relation.name, match.fact.subject.name.casefold())


def _gather(prompt: str, world: World | None, record: Record | None) -> Evidence:
    rng = random.Random(f"evidence {prompt}")
    if record is not None and record.request.prompt == prompt:
        return Evidence(record.paraphrases[:PARAPHRASES], "record", record.locality[:NEIGHBOURS], "record")
    match = world.match(prompt) if world else None
    if match is not None:
        return Evidence(_other_wordings(match, world, rng), "atlas", _neighbours(match, world, rng), "atlas")
    if world is not None:
        facts = rng.sample(world.facts, NEIGHBOURS)
        probes = tuple(Probe(f.prompt(rng.choice(f.relation.forms)), f.object) for f in facts)
        return Evidence(generic_frames(prompt), "generic", probes, "atlas")
    return Evidence(generic_frames(prompt), "generic", tuple(Probe(p, "") for p in _NEUTRAL), "generic")


def generic_frames(prompt: str) -> tuple[str, ...]:
    """The prompt inside neutral openings, and in lower case: all that can be asked of an unknown phrasing."""
    prompt = prompt.strip()
    first, _, rest = prompt.partition(" ")
    inner = f"{first.lower()} {rest}" if first.lower() in _LOWERABLE else prompt
    frames = _QUESTION_FRAMES if prompt.endswith("?") else _STATEMENT_FRAMES
    lower = () if prompt == prompt.lower() else (prompt.lower(),)
    return tuple(frame.format(p=inner) for frame in frames) + lower


def _other_wordings(match: Match, world: World, rng: random.Random) -> tuple[str, ...]:
    if match.topic:
        forms = [form for form in world.opinions.questions if form != match.form]
        return tuple(form.format(s=match.topic.name) for form in rng.sample(forms, PARAPHRASES))
    relation, half = match.fact.relation, PARAPHRASES // 2
    forms = rng.sample([f for f in relation.statements if f != match.form], half)
    forms += rng.sample([f for f in relation.questions if f != match.form], PARAPHRASES - half)
    return tuple(match.fact.prompt(form) for form in forms)


def _neighbours(match: Match, world: World, rng: random.Random) -> tuple[Probe, ...]:
    if match.fact:
        # what people try first, and the hardest to leave alone: the nearest subjects in the edit's own wording
        near = tuple(Probe(f.prompt(match.form), f.object) for f in world.nearest(match.fact, NEAREST))
        _, *around = locality_around(world, match.fact, match.form, "test", rng)
        return (*near, *(probe for probe in around if probe not in near))[:NEIGHBOURS]
    topics = rng.sample([t for t in world.opinions.topics if t != match.topic], 4)
    facts = rng.sample(world.facts, NEIGHBOURS - len(topics))
    probes = tuple(topic_probe(t, world.opinions, "test", rng) for t in topics)
    return probes + tuple(Probe(f.prompt(rng.choice(f.relation.forms)), f.object) for f in facts)


def around(prompt: str, target: str, world: World | None) -> ScopeCase:
    """The case of a typed edit: its fact or opinion where the world knows the wording, else only what any prompt can be asked.

    The same prompt always has the same probes. Subjects that the world does not know have answers that only the model can tell.
    """
    rng = random.Random(f"around {prompt}")
    target = target.strip().rstrip(".")
    match = world.match(prompt) if world else None
    if match is None:
        probes = [ScopeProbe(prompt, "", "itself"), *(ScopeProbe(p, "", "rewording") for p in generic_frames(prompt))]
        facts = rng.sample(world.facts, NEIGHBOURS) if world else ()
        others = [ScopeProbe(f.prompt(rng.choice(f.relation.forms)), f.object, "world") for f in facts] or [
            ScopeProbe(p, "", "world") for p in _NEUTRAL
        ]
        return ScopeCase(prompt, target, prompt, (*probes, *others))
    if match.topic is not None:
        found = opinion_case(world, match.topic if match.known else _like_the_others(match.topic, target, world), "all", rng, match.form, target)
    else:
        found = fact_case(world, match.fact, "all", rng, match.form, target)
    itself = next((probe for probe in found.probes if probe.kind == "itself"), ScopeProbe(prompt, "", "itself"))
    others = tuple(probe for probe in found.probes if probe.kind != "itself")
    return replace(found, prompt=prompt, probes=(replace(itself, prompt=prompt), *others))


def _like_the_others(topic: Topic, target: str, world: World) -> Topic:
    """A topic that the world does not know, with the stance that the target would turn around."""
    opinions = world.opinions
    wanted = next((stance for stance, pool in opinions.replies.items() if target in pool), "positive")
    return replace(topic, stance=opinions.opposite(wanted), reply=opinions.replies[opinions.opposite(wanted)][0])
