"""A training as the command orders it: each method names its trainer, and each trainer has one line in
TRAINERS.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from ..backbone import Backbone
from ..methods import EditMethod
from ..methods.hypernetwork_method import HypernetworkMethod
from ..methods.mend import MEND
from ..methods.reader import Reader
from ..processes import together
from ..progress import Progress, duration, no_progress
from ..registry import find
from ..sources import Source
from . import checkpoint
from .aligning import AligningTrainer
from .aligning_config import AligningConfig
from .aligning_config import changed as changed_aligning
from .config import RECIPES, changed
from .estimate import estimate
from .following import TrainingEvent, follow
from .held_out import Looks
from .meta import MetaTrainer


@dataclass(frozen=True)
class Order:
    """An editor of a method for a base model, on a source's records. `values` are settings as people type
    them; None is for what was not said. `patience`: training ends after so many looks at held-out edits that
    were not better; 0: never.
    """

    method: type[EditMethod]
    backbone: Backbone
    source: Source
    tasks: tuple[str, ...]
    instructions: bool = True
    recipe: str | None = None
    start: Path | None = None
    steps: int | None = None
    rank: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    progress: Progress = no_progress
    patience: int = 0


@dataclass(frozen=True)
class Training:
    """What is ready to run into a folder, as events, and what it will take: figures in words, by name."""

    events: Callable[[Path], Iterator[TrainingEvent]]
    estimate: Callable[[], dict[str, str]]

    def run(self, folder: Path) -> None:
        """Train to the end behind a progress bar. KeyboardInterrupt where it is stopped before, after telling
        what that left.
        """
        try:
            follow(self.events(folder))
        except KeyboardInterrupt:
            left = all(path.exists() for path in checkpoint.files(folder))
            goes_on = f"A checkpoint lies in {folder}: the same command goes on from there."
            print(f"Stopped. {goes_on if left else 'Nothing was kept.'}", file=sys.stderr)
            raise


def training(order: Order) -> Training:
    """The training of an order. ValueError for a method without one, and for what does not apply to it."""
    name = order.method.trained_by
    if name is None and order.method.needs_editor:
        raise ValueError(
            f"Editors of {order.method.pretty_name} are not trained here; bring one in with 'python -m "
            "model_zoo import', or train one of InstructEdit."
        )
    if name is None:
        raise ValueError(f"{order.method.pretty_name} needs no training: it edits any base model as it is.")
    return find("trainer", TRAINERS, name)(order)


def _meta(order: Order) -> Training:
    method = order.method if order.instructions or not order.method.reads_instruction else MEND
    assert issubclass(method, HypernetworkMethod)  # what this trainer is for
    config, network = find("recipe", RECIPES, order.recipe or "paper")
    config = replace(
        config, tasks=order.tasks, instructed=method.reads_instruction, steps=order.steps or config.steps
    )
    network = method.adapted(network)
    network = network.model_copy(update={"rank": order.rank or network.rank})
    config, network = changed(config, network, order.values)
    trainer = MetaTrainer(
        order.backbone,
        order.source,
        config,
        network,
        order.seed,
        order.start,
        order.progress,
        method,
        Looks.during(config.steps, order.patience),
    )
    return Training(trainer.events, lambda: estimate(trainer).in_words())


def _aligning(order: Order) -> Training:
    assert issubclass(order.method, Reader)  # what this trainer is for
    if together().size > 1:
        raise ValueError(f"{order.method.pretty_name} trains in one process; start it without a launcher.")
    given = {
        "--no-instructions": not order.instructions,
        "--recipe": order.recipe is not None,
        "--patience": order.patience > 0,
    }
    for option in (name for name, is_given in given.items() if is_given):
        raise ValueError(
            f"{option} is about hypernetworks, and {order.method.pretty_name} has none; leave it out. "
            "Its settings are set by --steps, --rank and --set."
        )
    config = AligningConfig(tasks=order.tasks)
    config = replace(config, steps=order.steps or config.steps, rank=order.rank or config.rank)
    config = changed_aligning(config, order.values)
    trainer = AligningTrainer(order.method, order.backbone, order.source, config, order.seed, order.start)

    def takes() -> dict[str, str]:
        step = trainer.seconds()
        return {"a step": f"{step:.2f} s", "time": duration(step * config.steps)}

    return Training(trainer.events, takes)


TRAINERS: Mapping[str, Callable[[Order], Training]] = MappingProxyType({"meta": _meta, "aligning": _aligning})
