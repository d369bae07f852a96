"""Editing tasks: what an edit example looks like and how its instruction is worded.

One task per file and one line in TASKS. A task turns a world of facts into `Record`s and owns a pool of instructions in
which the last wording is held out from training (it measures robustness to an unseen instruction).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..registry import find, registered
from .request import EditRequest

if TYPE_CHECKING:
    from ..atlas.world import World

__all__ = ["Example", "Probe", "Record", "Task", "TASKS", "get_task"]


@dataclass(frozen=True)
class Probe:
    """A prompt and the text expected behind it (for locality: what the base model is expected to keep saying).

    `aliases` count as the answer too; `kind` is the benchmark's own word for the probe (Reasoning, Forgetfulness, ...).
    """

    prompt: str
    answer: str
    aliases: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Example:
    """An edit worth trying, with a label of a few words."""

    label: str
    prompt: str
    target: str


@dataclass(frozen=True)
class Record:
    """One edit with the prompts that test it.

    `paraphrases` should yield the target after the edit (generality); `locality` should not change; `portability` should yield what
    the edit implies. `subject` is the cluster for bootstrap intervals. `replies`: the known replies by sentiment, where the edit is
    about one.
    """

    request: EditRequest
    subject: str
    truth: str
    paraphrases: tuple[str, ...] = ()
    locality: tuple[Probe, ...] = ()
    slots: tuple[tuple[str, str], ...] = ()
    portability: tuple[Probe, ...] = ()
    replies: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Task:
    """A task's name, its words, and its maker of records.

    `records(world, split, n, rng)` returns n Records; split is "train" or "test", with disjoint subjects and phrasings.
    """

    name: str
    title: str
    summary: str
    instructions: tuple[str, ...]
    records: Callable[["World", str, int, random.Random], list[Record]]
    trained: bool = True
    slots: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    @property
    def held_out_instruction(self) -> str:
        return self.instructions[-1]

    @property
    def training_instructions(self) -> Sequence[str]:
        return self.instructions[:-1]

    def fill(self, wording: str, values: Mapping[str, str] | None = None) -> str:
        """Put values into a wording's slots ({label}, {topic}); a slot without a value reads as the task's default."""
        for name, default in self.slots.items():
            wording = wording.replace("{" + name + "}", (values or {}).get(name) or default)
        return wording

    def instruct(self, record: Record, wording: str) -> EditRequest:
        """The record's request under one wording of the instruction."""
        return replace(record.request, instruction=self.fill(wording, dict(record.slots)))


def _registry() -> MappingProxyType[str, Task]:
    from . import convsent, counterfact, recent, zsre

    return registered("task", (counterfact.TASK, recent.TASK, convsent.TASK, zsre.TASK))


def get_task(name: str) -> Task:
    """The registered task; ValueError names the known ones."""
    return find("task", TASKS, name)


TASKS = _registry()
