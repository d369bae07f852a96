"""The contract of a task: its words. Records of a task come from a source (model_zoo/sources)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..records import Record
from ..request import EditRequest


@dataclass(frozen=True)
class Task:
    """A task's name, its words, and whether editors are trained on it.

    `instructions` is a pool of wordings; the last one is held out from training, to measure robustness to an
    unseen instruction. `slots` are the words that a wording leaves open ({label}, {topic}), with their
    defaults.
    """

    name: str
    title: str
    summary: str
    instructions: tuple[str, ...]
    trained: bool = True
    slots: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_out_instruction(self) -> str:
        return self.instructions[-1]

    @property
    def training_instructions(self) -> Sequence[str]:
        return self.instructions[:-1]

    def fill(self, wording: str, values: Mapping[str, str] | None = None) -> str:
        """Put values into a wording's slots; a slot without a value reads as the task's default."""
        for name, default in self.slots.items():
            wording = wording.replace("{" + name + "}", (values or {}).get(name) or default)
        return wording

    def instruct(self, record: Record, wording: str) -> EditRequest:
        """The record's request under one wording of the instruction."""
        return replace(record.request, instruction=self.fill(wording, dict(record.slots)))
