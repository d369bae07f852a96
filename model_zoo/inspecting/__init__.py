"""What an edit changes beside itself, where inside the model it does so, and what happens if it is made
otherwise. Findings come one after another, the quick ones first.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache

from ..changes import Patch
from ..evaluation.text import follows, is_short, short_answer, starts_with, typed_small
from ..generation import generate
from ..records import Probe
from ..session import Edit, EditSession
from ..sources import default_source
from ..studio import Studio
from .findings import (
    Consequence,
    Consequences,
    EditedBack,
    Finding,
    Knowledge,
    KnownFact,
    NeutralText,
    Traced,
)
from .inside import lens, trace
from .known import BaseFacts, fitting, knowledge
from .nearest import REFERENCES, nearest_edits
from .neutral import chosen, neutral_text
from .trying import ROOM, edited_back, strengths

__all__ = ["Finding", "Inspector"]


class Inspector:
    """Inspects edits on one studio, and keeps what its base model says of the listed facts. Every finding is
    about an edit under all that are on in its session.
    """

    def __init__(self, studio: Studio, most: int | None = None):
        """`most`: so many listed facts of a kind, for a study of many edits."""
        self.studio, self.base, self.most = studio, BaseFacts(studio.backbone), most
        self.directions = cache(lambda: studio.directions(REFERENCES))
        self.texts = chosen(studio.source.prose or default_source().prose)

    def inspect(self, edit: Edit, session: EditSession) -> Iterator[Finding]:
        """Everything, as it is found. Of `Knowledge` there are several, each holding the one before it."""
        patch, old = self.studio.patch(session), self.old_answer(edit)
        request = edit.request
        yield self.neutral(patch)
        facts: tuple[KnownFact, ...] = ()
        for found in self.knowledge(edit, session):
            facts = found.facts
            yield found
        yield self.consequences(edit, patch)
        yield lens(self.studio.backbone, self._put(edit), request.target, old, patch)
        yield strengths(self.studio, edit, old, [Probe(fact.prompt, fact.answer) for fact in facts])
        yield self.edited_back(edit, session, old)
        yield self.trace(request.prompt, request.subject, old)
        yield nearest_edits(self.studio, self.directions(), edit, patch)

    def neutral(self, patch: Patch | None) -> NeutralText:
        """Running text that no edit is about."""
        return neutral_text(self.studio.backbone, self.texts, patch)

    def knowledge(self, edit: Edit, session: EditSession) -> Iterator[Knowledge]:
        """Listed facts around the edit, the last of these holding all."""
        yield from knowledge(self.base, self._listed(edit, session), self.studio.patch(session))

    def consequences(self, edit: Edit, patch: Patch | None) -> Consequences:
        """What should follow from the edit, one step behind it."""
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

    def edited_back(self, edit: Edit, session: EditSession, old: str) -> EditedBack:
        """The edit, then one back to the old answer: its prompt, other wordings and neighbours with a short
        answer.
        """
        evidence = self.studio.source.evidence(edit.request.prompt)
        wordings = [Probe(text, old) for text in dict.fromkeys((edit.request.prompt, *evidence.generality))]
        probes = [*wordings, *(probe for probe in evidence.locality if probe.answer)]
        return edited_back(self.studio, edit, session, old, fitting(probes, self.studio.fits))

    def old_answer(self, edit: Edit) -> str:
        """The listed answer to the edit's prompt where the base model gives it, else its own short answer;
        empty where it gives none, as in a chat, or gives the target already.
        """
        put, listed = self._put(edit), self.studio.source.answer(edit.request.prompt)
        (before,) = generate(self.studio.backbone, [put], None, ROOM)
        if self.studio.backbone.in_chat(put) or starts_with(before, edit.request.target):
            return ""
        if listed and starts_with(before, listed):
            return listed
        return short_answer(before) if is_short(before) else ""

    def trace(self, prompt: str, subject: str | None, answer: str) -> Traced:
        """Causal tracing of the base model's answer to a prompt, put to it as it is."""
        problem = (
            "No subject was found in the prompt; name it as --subject, or under More settings."
            if not subject
            else "The base model gives no short answer of its own here that could be traced."
        )
        if not subject or not answer:
            return Traced((), (0, 0), (), (), 0.0, 0.0, answer, problem)
        return trace(self.studio.backbone, prompt, subject, answer)

    def _put(self, edit: Edit) -> str:
        return self.studio.put(edit.request.prompt, edit.request)

    def _listed(self, edit: Edit, session: EditSession) -> tuple[Probe, ...]:
        """Listed facts around the edit, without those that it or another one is meant to move."""
        source, taken = self.studio.source, Counter[str]()
        edits = {edit.request.prompt, *(own.request.prompt for own in session.active)}
        moved = {source.fact_key(prompt) for prompt in edits}
        probes = []
        for probe in source.listed_facts(edit.request.prompt, edit.request.target):
            if source.fact_key(probe.prompt) in moved or taken[probe.kind] == self.most:
                continue
            taken[probe.kind] += 1
            probes.append(probe)
        return fitting(probes, self.studio.fits)
