"""The settings of a training of adapters that read edits (aligning.py)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from ..tasks import TASKS

Many = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class AligningConfig:
    """Schedule and loss."""

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS.values() if task.trained)
    records: Many = 2000  # of every task, drawn once
    questions: bool = True  # records of files are asked as questions, too
    chat: float = 0.5  # of the questions are asked in the chat template, where there is one
    blocks: int = 0  # adapters on the MLP matrices of so many of the last blocks; 0: of all
    rank: Many = 32
    alpha: float = 64.0  # the adapter counts alpha / rank
    steps: Many = 1500
    batch: Many = 16  # prompts in scope a step
    share: float = 0.5  # so many times as many out of scope, where the method learns of those
    swapped: float = 0.7  # of the edits get another record's target, which only the edit can tell
    lr: float = 2e-3
    warmup: Many = 30
    c_stay: float = 1.0
    goes_on: Many = 8  # tokens of the base's continuation along which it should stay
    stop: bool = True  # behind the target the text ends
    clip: float = 1.0
    pairs: Many = 500  # records whose prompts a scope classifier learns of


def changed(config: AligningConfig, values: Mapping[str, str]) -> AligningConfig:
    """The configuration with other values, given as people type them (lists as in JSON). ValueError names
    what is wrong.
    """
    known = asdict(config)
    for name, text in values.items():
        if name not in known:
            raise ValueError(f"There is no setting '{name}'; there are {', '.join(sorted(known))}.")
        try:
            known[name] = json.loads(text)
        except json.JSONDecodeError:
            known[name] = text
    try:
        return TypeAdapter(AligningConfig).validate_python(known)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from error
