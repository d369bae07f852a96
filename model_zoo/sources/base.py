"""The contract of a source: where records, known facts and the probes around a prompt come from.

`Source` itself is the source that knows nothing: it has no records, and around a prompt only what any prompt
can be asked. A source overrides what it knows better. Training, evaluation, directions, evidence and
statistics take a Source.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..backbone import Backbone
from ..records import Probe, Record
from ..scopes import ScopeCase, ScopeProbe
from ..subjects import find_subject, normalised
from .examples import EVERYDAY, Suggestions
from .frames import NEUTRAL, generic_frames

PARAPHRASES, NEIGHBOURS = 4, 8  # prompts shown beside an edit
GENERIC, OF_RECORD = "generic", "record"  # where prompts come from, beside the names of sources
Pair = tuple[str, str]  # a prompt and the answer behind it


@dataclass(frozen=True)
class Evidence:
    """Prompts that should follow an edit and probes that should not change, each with the name of where they
    come from. `target`: what should be said where the prompts are in another language than the edit.
    """

    generality: tuple[str, ...]
    generality_source: str
    locality: tuple[Probe, ...]
    locality_source: str
    target: str = ""


def _of_record(record: Record, language: str) -> Evidence:
    """A record's own evidence; in another language the edit's prompt is the first of the wordings."""
    asked = record.asked_in(language)
    other = asked is not record
    wordings = (asked.request.prompt, *asked.paraphrases) if other else asked.paraphrases
    target = asked.request.target if other else ""
    return Evidence(wordings[:PARAPHRASES], OF_RECORD, asked.locality[:NEIGHBOURS], OF_RECORD, target)


class Neighbours:
    """Probes nearest to an edited prompt, the hardest to leave alone. This one knows none."""

    def near(self, prompt: str) -> Sequence[Probe]:
        """The nearest known facts, asked in the prompt's own wording."""
        return ()


class Source:
    """Where records come from. `tasks`: those that it has records of; `has_scopes`: whether it has scope
    cases; `examples`: edits worth trying, by task, the best first.
    """

    name: str = GENERIC
    title: str = "nothing at hand"
    has_scopes: bool = False
    examples: Suggestions = EVERYDAY
    question: str = "What is the capital of Spain?"  # worth asking after the first example

    @property
    def tasks(self) -> tuple[str, ...]:
        return ()

    def knows(self, backbone: Backbone) -> bool:
        """Whether a base model knows this source's facts, so that its answers can be told from them."""
        return False

    # ---- records -------------------------------------------------------------------------------------------

    def records(self, task: str, split: str, n: int, rng: random.Random) -> list[Record]:
        """n records of a task; the subjects of the splits "train" and "test" are disjoint. ValueError where
        there are none.
        """
        raise ValueError(f"There are no records of the task {task} at hand; give a file of records.")

    def scope_cases(self, split: str, n: int, rng: random.Random) -> list[ScopeCase]:
        """n edits with probes around them, to be made under every scope. ValueError where there are none."""
        raise ValueError("Scoped edits need the kinds of probes around a fact, and none are at hand.")

    def with_questions(self) -> "Source":
        """The same source, its training records asked as questions too, where it does not ask any yet."""
        return self

    # ---- a prompt ------------------------------------------------------------------------------------------

    def subject(self, prompt: str) -> str | None:
        """What a prompt is about, as it stands there; None where nothing is found."""
        return find_subject(prompt)

    def slots(self, prompt: str, target: str) -> dict[str, str]:
        """What the slots of an instruction stand for, for a typed edit."""
        return {}

    def unwritable(self, text: str) -> str:
        """The characters of a text that a model which knows this source never met; none where that is
        unknown.
        """
        return ""

    def fact_key(self, prompt: str) -> tuple[str, str]:
        """What a prompt asks: two prompts of one key ask for the same fact. Else its own text."""
        return ("text", normalised(prompt))

    def typed(self, prompt: str, rng: random.Random) -> str:
        """The prompt as people in a hurry may type it."""
        return prompt

    # ---- probes --------------------------------------------------------------------------------------------

    def evidence(
        self, prompt: str, record: Record | None = None, edited: Sequence[str] = (), language: str = ""
    ) -> Evidence:
        """The best evidence at hand for an edit's prompt; the same prompt always gives the same evidence.

        Probes of facts that other edits change (their prompts are `edited`) are left out: those are meant to
        move. Of a record that has it, the evidence in another `language`.
        """
        if record is not None and record.request.prompt == prompt:
            found = _of_record(record, language)
        else:
            found = self._evidence(prompt)
        changed = {self.fact_key(text) for text in (prompt, *edited)}
        return replace(
            found, locality=tuple(p for p in found.locality if self.fact_key(p.prompt) not in changed)
        )

    def _evidence(self, prompt: str) -> Evidence:
        return Evidence(generic_frames(prompt), GENERIC, NEUTRAL, GENERIC)

    def answer(self, prompt: str) -> str:
        """What is listed as a prompt's answer; empty where nothing is."""
        return ""

    def listed_facts(self, prompt: str, target: str) -> tuple[Probe, ...]:
        """Listed facts around an edit, the nearest first, each with its kind (`surroundings.KINDS`)."""
        return tuple(replace(probe, kind="world") for probe in NEUTRAL if probe.answer)

    def consequences(self, prompt: str, target: str) -> tuple[Probe, ...]:
        """What should follow from an edit, one step behind it; none where nothing is known of its target."""
        return ()

    def known_around(self, record: Record, n: int) -> tuple[Probe, ...]:
        """Up to n known facts that a record's edit should leave alone, those with its kind of answer first;
        the same record always has the same. ValueError where no facts are listed.
        """
        raise ValueError(
            "Known facts around records need a list of them, and none is at hand; leave --known out."
        )

    def scope_case(self, prompt: str, target: str) -> ScopeCase:
        """The case of a typed edit with the probes around it; the same prompt always has the same probes."""
        return generic_case(prompt, target, [ScopeProbe(p.prompt, p.answer, "world") for p in NEUTRAL])

    def neighbours(self, backbone: Backbone) -> Neighbours:
        """What lies nearest to an edited prompt in the base model's own eyes, for training."""
        return Neighbours()

    # ---- what is known -------------------------------------------------------------------------------------

    def statements(self, seed: int = 0) -> list[Pair]:
        """Facts of the training split that edits should leave alone, for the statistics of keys."""
        raise ValueError("Statistics of keys need known facts, and none are at hand.")

    def asked(self, seed: int = 0) -> list[str]:
        """Questions of the training split, for the statistics of keys in a chat; none where it has none."""
        return []

    def relations(self, seed: int = 0) -> list[list[Pair]]:
        """Facts of the training split, relation by relation."""
        raise ValueError("Directions that relations share need facts by relation, and none are at hand.")

    def recall(self) -> list[Pair]:
        """Every known fact in every wording, with its answer."""
        return []

    @property
    def replies(self) -> Mapping[str, Sequence[str]]:
        """The known replies by the sentiment that they voice; empty where opinions are unknown."""
        return {}

    @property
    def prose(self) -> Sequence[str]:
        """Running text that the base model was trained on or should go on writing, for perplexity."""
        return ()


def generic_case(prompt: str, target: str, others: Sequence[ScopeProbe]) -> ScopeCase:
    """The case of an unknown wording: itself, what any prompt can be asked, and `others` that are far from
    it.
    """
    rewordings = [ScopeProbe(text, "", "rewording") for text in generic_frames(prompt)]
    return ScopeCase(
        prompt, target.strip().rstrip("."), prompt, (ScopeProbe(prompt, "", "itself"), *rewordings, *others)
    )
