"""What a file of edits comes to before anything is made: its cases, and the conflicts between them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..benchmarks import Loaded
from ..evaluation import Plan
from ..evaluation.planning import cases_of
from ..evaluation.scoring import Case
from ..evaluation.text import agree
from ..sources import Source
from ..studio import Studio

Keep = Literal["last", "first"]
PROBES = 2  # other wordings, and prompts around it, that every edit of a file is judged by


@dataclass(frozen=True)
class Conflict:
    """Two edits (their places in the file, from 0) that cannot both be had: `kind` is "answers" where they
    give one fact two answers, "protects" where what `first` keeps in place is what `second` changes.
    """

    kind: Literal["answers", "protects"]
    first: int
    second: int
    prompt: str
    found: tuple[str, str]

    def in_words(self) -> str:
        one, other = self.found
        if self.kind == "answers":
            pair = f"edits {self.first + 1} and {self.second + 1}"
            return f"{pair} answer '{self.prompt}' by '{one}' and '{other}'"
        return (
            f"edit {self.first + 1} wants '{self.prompt}' to stay '{one}', and edit {self.second + 1} "
            f"changes it to '{other}'"
        )


def conflicts(cases: Sequence[Case], source: Source) -> list[Conflict]:
    """The conflicts among edits. Of those about one fact each is held against the first and the last."""
    made: dict[tuple, list[Case]] = {}
    for case in cases:
        made.setdefault(source.fact_key(case.request.prompt), []).append(case)
    found: dict[tuple[int, int], Conflict] = {}
    for same in made.values():
        for one, other in (*((same[0], case) for case in same), *((case, same[-1]) for case in same)):
            answers = (one.request.target, other.request.target)
            if not agree(*answers):
                pair = (one.index, other.index)
                found[pair] = Conflict("answers", *pair, other.request.prompt, answers)
    protecting = [
        Conflict("protects", case.index, other.index, probe.prompt, (probe.answer, other.request.target))
        for case in cases
        for probe in case.record.locality
        for other in made.get(source.fact_key(probe.prompt), ())
        if other is not case and probe.answer and not agree(other.request.target, probe.answer)
    ]
    return [*found.values(), *protecting]


@dataclass(frozen=True)
class FilePlan:
    """What a file of edits comes to on a model, before anything is made: what was read of it, its edits as
    cases, and the conflicts between them.
    """

    loaded: Loaded
    cases: tuple[Case, ...]
    conflicts: tuple[Conflict, ...]
    beyond: int = 0  # edits of the file that were not asked for

    @property
    def contradictions(self) -> list[Conflict]:
        return [conflict for conflict in self.conflicts if conflict.kind == "answers"]

    @property
    def disputed(self) -> list[list[Case]]:
        """The cases that answer one fact differently, fact by fact, in the file's order."""
        group: dict[int, set[int]] = {}
        for conflict in self.contradictions:
            both = group.get(conflict.first, {conflict.first}) | group.get(conflict.second, {conflict.second})
            group |= dict.fromkeys(both, both)
        facts = {min(places): sorted(places) for places in group.values()}
        by_place = {case.index: case for case in self.cases}
        return [[by_place[place] for place in facts[first]] for first in sorted(facts)]

    def kept(self, keep: Keep | Collection[int]) -> list[Case]:
        """The cases to be made: where some answer one fact differently, the last or the first of them, or
        those whose places in the file are given; of those that repeat each other the first. ValueError where
        two that contradict each other are given.
        """
        if isinstance(keep, str):
            dropped = {c.first if keep == "last" else c.second for c in self.contradictions}
        else:
            dropped = {case.index for same in self.disputed for case in same} - set(keep)
            for same in self.disputed:
                _check_agree([case for case in same if case.index in keep])
        made: dict[tuple[str, str], Case] = {}
        for case in self.cases:
            if case.index not in dropped:
                request = case.request
                made.setdefault((request.prompt.casefold(), request.target.casefold()), case)
        return list(made.values())


def _check_agree(chosen: Sequence[Case]) -> None:
    """ValueError where two cases about one fact contradict each other."""
    for case in chosen[1:]:
        one, other = chosen[0].request, case.request
        if not agree(one.target, other.target):
            pair = (chosen[0].index, case.index)
            conflict = Conflict("answers", *pair, other.prompt, (one.target, other.target))
            raise ValueError(f"Both cannot be made: {conflict.in_words()}; choose one of them.")


def planned(
    studio: Studio,
    loaded: Loaded,
    n: int | None = None,
    chat: bool = True,
    probes: int | None = PROBES,
) -> FilePlan:
    """A plan for the first n edits of a file; with `chat` a chat model is asked its questions in its
    template; each edit is judged by at most so many `probes` of a kind (None: by all that its row has).
    ValueError where the model has no room for any of them.
    """
    prompts = "chat" if chat and studio.backbone.chats else "plain"
    plan = Plan(studio.name, (), (), len(loaded.records), prompts=prompts, most_probes=probes)
    cases, too_long = cases_of(loaded.records[:n], "edit", plan, studio.backbone, studio.source)
    if not cases:
        raise ValueError(f"No edit is left to make; the first problem: {too_long[0].reason}.")
    loaded = replace(loaded, skipped=(*loaded.skipped, *too_long))
    beyond = max(0, len(loaded.records) - (n or len(loaded.records)))
    return FilePlan(loaded, tuple(cases), tuple(conflicts(cases, studio.source)), beyond)
