"""Cases whose edits live in one model at once: which of them may, and what then is not asked to stay."""

from collections.abc import Sequence
from dataclasses import replace

from ..records import Probe, units
from ..sources import Source
from .scoring import Case


def stacks_of(cases: Sequence[Case], size: int) -> list[list[Case]]:
    """The cases in stacks of at most `size`, in their order, groups of edits whole, else no two of a stack
    about the same subject: edits that contradict each other cannot all hold.
    """
    stacks: list[list[Case]] = []
    for unit in units(cases, lambda case: case.record):
        subjects = {case.record.subject.casefold() for case in unit}
        room = (
            stack
            for stack in stacks
            if len(stack) + len(unit) <= size
            and not any(other.record.subject.casefold() in subjects for other in stack)
        )
        if (found := next(room, None)) is None:
            stacks.append(found := [])
        found += unit
    return stacks


def without_each_other(stack: Sequence[Case], source: Source) -> list[Case]:
    """The cases without locality prompts about facts that another edit of the stack changes: those are meant
    to move.
    """
    edited = {source.fact_key(case.request.prompt) for case in stack}

    def kept(case: Case) -> tuple[Probe, ...]:
        return tuple(probe for probe in case.record.locality if source.fact_key(probe.prompt) not in edited)

    return [replace(case, record=replace(case.record, locality=kept(case))) for case in stack]
