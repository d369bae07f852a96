"""Trainings that the page asks for: what is wanted, as an order; where the editor goes; one at a time."""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from model_zoo.methods import assignments
from model_zoo.methods.editor_folder import CONFIG_FILE
from model_zoo.methods.instructedit import InstructEdit
from model_zoo.sources import FileSource
from model_zoo.studio import Studio
from model_zoo.training.following import Stepped, TrainingEvent
from model_zoo.training.order import Order

STEPS_SECONDS = 0.5  # of steps in one turn: others wait no longer
_LET_GO = 1.0  # seconds in which a training that was stopped a moment ago ends
_NAME = re.compile(r"\w[\w.-]{0,63}")


class Wanted(NamedTuple):
    """An editor as it is asked for: its folder's name, the files of records by task (else the model's own
    facts of `tasks`), and the settings; None for those of the recipe. `settings`: others, NAME=VALUE.
    """

    name: str
    tasks: tuple[str, ...]
    files: Mapping[str, Sequence[str]]
    recipe: str
    steps: int | None = None
    rank: int | None = None
    patience: int = 0
    seed: int = 0
    settings: tuple[str, ...] = ()


def ordered(studio: Studio, wanted: Wanted) -> Order:
    """What is wanted as the engine takes it, for a studio's base model. ValueError where no task is chosen
    or a file cannot be read.
    """
    tasks = tuple(wanted.files) or wanted.tasks
    if not tasks:
        raise ValueError("Choose at least one task, or drop a file of records.")
    return Order(
        InstructEdit,
        studio.backbone,
        FileSource(wanted.files) if wanted.files else studio.reference,
        tasks,
        recipe=wanted.recipe,
        steps=wanted.steps,
        rank=wanted.rank,
        values=assignments(wanted.settings),
        seed=wanted.seed,
        patience=wanted.patience,
    )


def folder_for(place: Path, name: str) -> Path:
    """The folder of an editor to be. ValueError for what is no plain name, or is finished already."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"'{name[:40]}' cannot be a folder's name; take letters, digits, '-', '_' and '.', as in "
            "my-editor."
        )
    folder = place.resolve() / name
    if (folder / CONFIG_FILE).exists():
        raise ValueError(f"{folder} holds a finished editor already; choose another name.")
    return folder


@contextmanager
def alone(lock: threading.Lock) -> Iterator[None]:
    """Within this block nobody else trains. ValueError where somebody does."""
    if not lock.acquire(timeout=_LET_GO):
        raise ValueError(
            "Another editor is being trained here; stop that training, or wait until it is done."
        )
    try:
        yield
    finally:
        lock.release()


def together_for(events: Iterator[TrainingEvent], seconds: float) -> Iterator[list[TrainingEvent]]:
    """Events by what came within so many seconds; what is no plain step ends its group."""
    group: list[TrainingEvent] = []
    start = time.monotonic()
    with closing(events):  # type: ignore[type-var]  # a generator, which leaves its checkpoint
        for event in events:
            group.append(event)
            plain = isinstance(event, Stepped) and event.look is None
            if not plain or time.monotonic() - start > seconds:
                yield group
                group, start = [], time.monotonic()
        if group:
            yield group
