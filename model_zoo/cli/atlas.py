"""`atlas rebuild`: the embedded world's model and editor from nothing."""

from pathlib import Path
from typing import Annotated, cast

import typer

from .options import Device

WEIGHTS = Path(__file__).parent.parent / "weights" / "atlas"
app = typer.Typer(no_args_is_help=True, help="The embedded world.")


@app.callback()
def group() -> None:
    """The embedded world."""


@app.command()
def rebuild(
    out: Annotated[Path, typer.Option(help="Folder for base/ and editor/.")] = WEIGHTS,
    seed: int = 0,
    device: Device = "auto",
    part: Annotated[
        str, typer.Option(help="all, base, or editor (for the base model already in the folder).")
    ] = "all",
) -> None:
    """Train the embedded tokenizer, base model and editor from scratch."""
    from ..loading import LoadOptions, load
    from ..sources import get_source
    from ..sources.atlas import AtlasSource
    from ..training.config import RECIPES
    from ..training.meta import MetaTrainer
    from ..training.pretrain import pretrain

    options, atlas = LoadOptions(device, "fp32"), cast(AtlasSource, get_source("atlas"))
    if part not in ("all", "base", "editor"):
        raise ValueError(f"The part '{part}' is unknown; use all, base or editor.")
    if part != "editor":
        pretrain(atlas.world, out / "base", seed=seed, device=options.device)
    if part != "base":
        config, network = RECIPES["studio"]
        MetaTrainer(load(out / "base", options, "atlas"), atlas, config, network, seed).run(out / "editor")
