"""What the instruction's text decides once an editor is trained: the same edits under other wordings."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..evaluation.scoring import Case
from ..tasks import TASKS
from .base import Experiment
from .lab import Lab
from .render import overall
from .training import PLACES, sentence

Wording = Callable[[Case, random.Random], str | None]

_SHORT = {
    "counterfact": "Change it.",
    "recent": "Add it.",
    "convsent": "Change the mood.",
    "zsre": "Answer so.",
}
_LONG = (
    " We are preparing a demonstration for visitors next week, several of them know this subject well, and "
    "the example that follows "
    "was chosen together with a colleague who has worked on such models for many years."
)


def _other_task(case: Case, rng: random.Random) -> str:
    task = TASKS[rng.choice([name for name in TASKS if name != case.task])]
    return task.fill(rng.choice(task.training_instructions))


def _shuffled(case: Case, rng: random.Random) -> str:
    words = (case.request.instruction or "").split()
    rng.shuffle(words)
    return " ".join(words)


def _contradiction(case: Case, rng: random.Random) -> str:
    return "Leave everything as it is and change nothing."


def _trained(case: Case, rng: random.Random) -> str:
    task = TASKS[case.task]
    return task.fill(rng.choice(task.training_instructions), dict(case.record.slots))


HELD_OUT, NONE = "the held-out wording", "no instruction"
WORDINGS_BY_NAME: dict[str, Wording] = {
    "a wording from training": _trained,
    HELD_OUT: lambda case, rng: case.request.instruction,
    "two words": lambda case, rng: _SHORT[case.task],
    "three times as long": lambda case, rng: (case.request.instruction or "") + _LONG,
    "its words shuffled": _shuffled,
    "another task's wording": _other_task,
    "told to change nothing": _contradiction,
    NONE: lambda case, rng: None,
}


def wordings(lab: Lab) -> list[dict]:
    """The finished editor, the same edits, evaluation prompts plain."""
    editor, cases, rows = lab.finished(), lab.cases(), []
    for name, wording in WORDINGS_BY_NAME.items():
        rng = random.Random(f"{name} {lab.seed}")
        worded = {
            task: [
                replace(case, request=replace(case.request, instruction=wording(case, rng))) for case in part
            ]
            for task, part in cases.items()
        }
        rows += lab.measure(name, [editor], worded)
    return rows


def _finding(rows: Sequence[dict]) -> str:
    """How far the words of an instruction move what comes of it, and how far their absence."""
    parts = []
    for held_out, where in PLACES:
        own = overall(rows, held_out)
        if {HELD_OUT, NONE} <= own.keys():
            base, without = own.pop(HELD_OUT), own.pop(NONE)
            far = max(own, key=lambda name: abs(own[name] - base))
            parts.append(
                f"over {where} {base:.1%} under the held-out wording, {own[far]:.1%} under the one that "
                f"moves it most ({far}), {without:.1%} under none"
            )
    return sentence(parts)


WORDINGS = Experiment(
    "instructions",
    "Wording of the instruction",
    "How much does the text of the instruction matter to a trained editor?",
    wordings,
    _finding,
    uses_finished=True,
)
