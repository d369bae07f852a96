"""The diff of what is known: listed facts around an edit, asked before and after it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..backbone import Backbone
from ..changes import Patch
from ..evaluation.text import starts_with
from ..generation import Answered, answered, generate
from ..records import Probe
from .findings import Knowledge, KnownFact

CHUNK = 32  # facts of one forward pass
SAID = 8  # tokens of what is said in a fact's place


class BaseFacts:
    """What one base model says of listed facts: asked once, and kept."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone
        self._found: dict[tuple[str, str], Answered] = {}

    def answered(self, probes: Sequence[Probe]) -> list[Answered]:
        pairs = [(probe.prompt, probe.answer) for probe in probes]
        if new := [pair for pair in dict.fromkeys(pairs) if pair not in self._found]:
            self._found |= dict(zip(new, answered(self.backbone, new), strict=True))
        return [self._found[pair] for pair in pairs]


def knowledge(base: BaseFacts, probes: Sequence[Probe], patch: Patch | None) -> Iterator[Knowledge]:
    """The facts that the base model says, and whether the edited one still does; after every chunk what is
    known so far, and last of all what is said in the place of those that moved most.
    """
    facts: list[KnownFact] = []
    unknown = 0
    for i in range(0, len(probes), CHUNK):
        part = probes[i : i + CHUNK]
        known = [(p, was) for p, was in zip(part, base.answered(part), strict=True) if was.said]
        unknown += len(part) - len(known)
        asked = [(probe.prompt, probe.answer) for probe, _ in known]
        now = answered(base.backbone, asked, [patch] * len(asked)) if asked else []
        facts += [
            KnownFact(p.prompt, p.answer, p.kind, was.likelihood, is_.likelihood, is_.said)
            for (p, was), is_ in zip(known, now, strict=True)
        ]
        if i + CHUNK < len(probes):
            yield Knowledge(tuple(facts), i + len(part), len(probes), unknown)
    found = Knowledge(tuple(facts), len(probes), len(probes), unknown)
    yield replace(found, facts=_told(base.backbone, found, patch))


def _told(backbone: Backbone, found: Knowledge, patch: Patch | None) -> tuple[KnownFact, ...]:
    """The facts, with what is said in the place of those that are not said any more or moved most."""
    moved = list(dict.fromkeys([*found.moved_most, *(fact for fact in found.facts if not fact.stays)]))
    prompts = [fact.prompt for fact in moved]
    said = generate(backbone, prompts, [patch] * len(prompts), SAID) if prompts else []
    texts = dict(zip(moved, said, strict=True))
    # a text can begin with the answer in other tokens than the likeliest ones of the pair
    return tuple(
        replace(f, said=texts[f], stays=f.stays or starts_with(texts[f], f.answer)) if f in texts else f
        for f in found.facts
    )


def fitting(probes: Sequence[Probe], fits: Callable[[str], bool]) -> tuple[Probe, ...]:
    """The probes that the model has room for."""
    return tuple(probe for probe in probes if fits(probe.prompt))
