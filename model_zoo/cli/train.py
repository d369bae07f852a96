"""`train`: an editor of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Dtype, Model


def train(
    out: Annotated[Path, typer.Option(help="Folder for the editor; a checkpoint found there is resumed.")],
    model: Model = "atlas",
    tasks: Annotated[str, typer.Option(help="Comma-separated training tasks.")] = "counterfact,recent,convsent",
    instructions: Annotated[bool, typer.Option(help="--no-instructions trains the MEND baseline on the same data.")] = True,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    rank: Annotated[int, typer.Option(help="Width of the hypernetwork's bottleneck.")] = 256,
    seed: int = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Meta-train an editor for a base model on the atlas' records."""
    from ..atlas import load_world
    from ..catalog import load_backbone
    from ..loading import LoadOptions
    from ..methods.hypernetwork import HyperConfig
    from ..tasks import get_task
    from ..training.config import MetaConfig
    from ..training.meta import MetaTrainer

    names = tuple(get_task(name.strip()).name for name in tasks.split(","))
    config = replace(MetaConfig(), tasks=names, instructed=instructions)
    config = replace(config, steps=steps or config.steps)
    MetaTrainer(load_backbone(model, LoadOptions(device, dtype)), load_world(), config, HyperConfig(rank=rank), seed).run(out)
