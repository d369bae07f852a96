"""Records: an edit together with the prompts that test it. Plain data; where records come from is a source's
business.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .request import EditRequest

T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """A prompt and the text expected behind it (for locality: what the base model is expected to keep
    saying).

    `aliases` count as the answer too; `kind` is the benchmark's own word for the probe (Reasoning,
    Forgetfulness, ...).
    """

    prompt: str
    answer: str
    aliases: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Record:
    """One edit with the prompts that test it.

    `paraphrases` should yield the target after the edit (generality); `locality` should not change;
    `portability` should yield what the edit implies. `subject` is the cluster for bootstrap intervals.
    `slots` fill the wording of an instruction. `replies`: the known replies by sentiment, where the edit is
    about one; or the `sentiment` that any words may voice. Edits of one `group` are made together: what
    should follow, follows from all of them. `translations`: the same row in other languages than its own
    `language`, where a file has it in several.
    """

    request: EditRequest
    subject: str
    truth: str
    paraphrases: tuple[str, ...] = ()
    locality: tuple[Probe, ...] = ()
    slots: tuple[tuple[str, str], ...] = ()
    portability: tuple[Probe, ...] = ()
    replies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sentiment: str = ""
    group: str = ""
    language: str = field(default="", repr=False)
    translations: tuple["Record", ...] = field(default=(), repr=False)

    @property
    def languages(self) -> tuple[str, ...]:
        """Its own language, then the others; nothing where there are no others."""
        return (self.language, *(other.language for other in self.translations)) if self.translations else ()

    def asked_in(self, language: str) -> "Record":
        """The record in a language; as it is where it has no such translation."""
        return next((other for other in self.translations if other.language == language), self)

    def first(self, most: int | None) -> "Record":
        """The record with at most so many prompts of each kind; None keeps all."""
        if most is None:
            return self
        kinds: Mapping[str, Any] = {
            "paraphrases": self.paraphrases,
            "locality": self.locality,
            "portability": self.portability,
        }
        return replace(self, **{kind: prompts[:most] for kind, prompts in kinds.items()})


def units(items: Iterable[T], record: Callable[[T], Record]) -> list[list[T]]:
    """The items in their order, those whose records are of one group in one list; others alone."""
    found: list[list[T]] = []
    last = ""
    for item in items:
        group = record(item).group
        if group and group == last:
            found[-1].append(item)
        else:
            found.append([item])
        last = group
    return found


def sampled(records: list[Record], n: int, rng: random.Random) -> list[Record]:
    """n of the records without replacement, or a few more so that groups are whole; at most all."""
    whole = units(records, lambda record: record)
    if len(whole) == len(records):
        return rng.sample(records, min(n, len(records)))
    drawn: list[Record] = []
    for unit in rng.sample(whole, len(whole)):
        if len(drawn) >= n:
            break
        drawn += unit
    return drawn
