"""The edit that every visitor finds on the page. It is made once, when the page is built."""

import os
from dataclasses import dataclass

import torch

from model_zoo.events import whole
from model_zoo.loading import LoadOptions
from model_zoo.methods import METHODS
from model_zoo.progress import Progress, no_progress
from model_zoo.request import EditRequest
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS

from . import html
from .runtime import Runtime
from .visitor import ModelChoice, VisitorState

ZERO_GPU = "SPACES_ZERO_GPU" in os.environ
FIRST_TASK = next(iter(TASKS.values()))


@dataclass(frozen=True)
class FirstEdit:
    """A new visitor's state, and the HTML of what it shows."""

    state: VisitorState
    request: EditRequest
    pair: str
    verdicts: str
    changes: str


def make_first_edit(runtime: Runtime, choice: ModelChoice, progress: Progress = no_progress) -> FirstEdit:
    """Make the first example's edit, without starting a thread: ZeroGPU forks this process later."""
    studio = _studio(runtime, choice, progress)
    progress("Making the first edit…")
    example = studio.source.examples[FIRST_TASK.name][0]
    request = studio.request(FIRST_TASK.name, example.prompt, example.target)
    life = studio.life(request, studio.default_method(), streaming=False)
    proposed, text, likely, verdicts = whole(life)
    edit = proposed.edit
    method, effects = METHODS[edit.method].pretty_name, studio.effects(edit)
    return FirstEdit(
        state=VisitorState(choice, {choice: proposed.session}, request, met=True),
        request=request,
        pair=html.before_after(request, text, likely),
        verdicts=html.verdicts(verdicts),
        changes=html.what_changed(edit.change.in_words(), effects, method, None, 1),
    )


def _studio(runtime: Runtime, choice: ModelChoice, progress: Progress) -> Studio:
    """On ZeroGPU the first edit is made on the CPU, with one thread.

    The main process has no GPU there, and a forked worker hangs if OpenMP's threads were started before.
    """
    studio = runtime.studio(choice, progress)
    if not ZERO_GPU:
        return studio
    torch.set_num_threads(1)
    return Studio.open(choice.model, LoadOptions("cpu"), runtime.settings.editor)
