"""What an edit changes beside itself, where inside the model it does so, and what happens if it is made
otherwise. Findings come one after another, the quick ones first.
"""

from collections.abc import Iterator

from ..changes import Patch
from ..evaluation.text import follows, short_answer, starts_with, typed_small
from ..generation import generate
from ..records import Probe
from ..session import Edit, EditSession
from ..sources import default_source
from ..studio import Studio
from .findings import (
    Block,
    Consequence,
    Consequences,
    EditedBack,
    Finding,
    Knowledge,
    KnownFact,
    Layers,
    NeutralText,
    Passage,
    Returned,
    Strength,
    Strengths,
    Traced,
)
from .inside import lens, trace
from .known import BaseFacts, fitting, knowledge
from .neutral import chosen, neutral_text
from .trying import ROOM, edited_back, strengths

__all__ = [
    "Block",
    "Consequence",
    "Consequences",
    "EditedBack",
    "Finding",
    "Inspector",
    "Knowledge",
    "KnownFact",
    "Layers",
    "NeutralText",
    "Passage",
    "Returned",
    "Strength",
    "Strengths",
    "Traced",
]


class Inspector:
    """Inspects edits on one studio, and keeps what its base model says of the listed facts."""

    def __init__(self, studio: Studio):
        self.studio, self.base = studio, BaseFacts(studio.backbone)
        self.texts = chosen(studio.source.prose or default_source().prose)

    def inspect(self, edit: Edit, session: EditSession) -> Iterator[Finding]:
        """Everything about an edit under all that are on in the session, as it is found. Of `Knowledge` there
        are several, each holding the one before it.
        """
        studio, request = self.studio, edit.request
        patch, put = studio.patch(session), studio.put(request.prompt, request)
        yield neutral_text(studio.backbone, self.texts, patch)
        probes = self._listed(edit, session)
        found = Knowledge((), 0, 0, 0)
        for found in knowledge(self.base, probes, patch):
            yield found
        yield self._consequences(edit, patch)
        old = self._old_answer(put, request.target)
        yield lens(studio.backbone, put, request.target, old, patch)
        near = [Probe(fact.prompt, fact.answer) for fact in found.facts]
        yield strengths(studio, edit, old, near)
        yield edited_back(studio, edit, session, old, self._closed(request.prompt, old))
        yield self.trace(request.prompt, request.subject, old or request.target)

    def trace(self, prompt: str, subject: str | None, answer: str) -> Traced:
        """Causal tracing of the base model's answer to a prompt, put to it as it is."""
        if not subject:
            problem = "No subject was found in the prompt; name it as --subject, or under More settings."
            return Traced((), (0, 0), (), (), 0.0, 0.0, answer, problem)
        return trace(self.studio.backbone, prompt, subject, answer)

    def _listed(self, edit: Edit, session: EditSession) -> tuple[Probe, ...]:
        """Listed facts around the edit, without those that it or another one is meant to move."""
        source = self.studio.source
        edits = {edit.request.prompt, *(own.request.prompt for own in session.active)}
        moved = {source.fact_key(prompt) for prompt in edits}
        probes = source.listed_facts(edit.request.prompt, edit.request.target)
        return fitting([p for p in probes if source.fact_key(p.prompt) not in moved], self.studio.fits)

    def _closed(self, prompt: str, old: str) -> tuple[Probe, ...]:
        """The edit's prompt, its other wordings and its neighbours, those with a short answer."""
        evidence = self.studio.source.evidence(prompt)
        wordings = [Probe(text, old) for text in dict.fromkeys((prompt, *evidence.generality))]
        around = [probe for probe in evidence.locality if probe.answer]
        return fitting([*wordings, *around], self.studio.fits)

    def _consequences(self, edit: Edit, patch: Patch | None) -> Consequences:
        studio, request = self.studio, edit.request
        probes = fitting(studio.source.consequences(request.prompt, request.target), studio.fits)
        if not probes:
            return Consequences(())
        rows = [probe.prompt for probe in probes for _ in range(2)]
        said = generate(studio.backbone, rows, [None, patch] * len(probes), ROOM)
        steps = zip(probes, said[::2], said[1::2], strict=True)
        return Consequences(
            tuple(
                Consequence(p.prompt, p.answer, b, a, follows(a, p.answer, typed_small(p.prompt)))
                for p, b, a in steps
            )
        )

    def _old_answer(self, put: str, target: str) -> str:
        """What the base model says to the edit's prompt, to the end of its first clause; empty where that is
        the target already.
        """
        (before,) = generate(self.studio.backbone, [put], None, ROOM)
        return "" if starts_with(before, target) else short_answer(before)
