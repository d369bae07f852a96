"""`train` and `average`: an editor of one's own."""

from pathlib import Path
from typing import Annotated, cast

import typer

from .options import Data, Device, Dtype, Model, Test


def train(
    out: Annotated[
        Path, typer.Option(help="Folder for the editor; a hypernetwork's checkpoint there is resumed.")
    ],
    model: Model = "atlas",
    method: Annotated[
        str, typer.Option(help="Whose editor is trained: instructedit, mend, ke, lte or serac.")
    ] = "instructedit",
    tasks: Annotated[
        str, typer.Option(help="Comma-separated training tasks.")
    ] = "counterfact,recent,convsent",
    instructions: Annotated[
        bool, typer.Option(help="--no-instructions trains the MEND baseline on the same data.")
    ] = True,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Of a hypernetwork. paper (by default): the published protocol; "
            "studio: scopes, joint solves and whitened keys too, as the editor that ships; "
            "real: on records, for a pretrained model."
        ),
    ] = None,
    data: Data = None,
    test: Test = None,
    start: Annotated[
        Path | None, typer.Option(help="Folder of a finished editor of the same base model to go on from.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Time a few steps; print memory, disk and time, and stop.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Of a hypernetwork: stop after so many looks at held-out edits that were not better than "
            "the best, and keep the best; 0: never.",
        ),
    ] = 0,
    set_values: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: another setting of the training; may be repeated."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="Width of the hypernetwork's bottleneck, or of the adapter.")
    ] = None,
    seed: int = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Train an editor for a base model, on the atlas' records or on files of your own."""
    from ..catalog import load_backbone
    from ..editors import use_command
    from ..loading import LoadOptions
    from ..methods import assignments, get_method
    from ..methods.editor_folder import CONFIG_FILE
    from ..processes import together
    from ..progress import Printed, no_progress
    from ..sources import FileSource, default_source, files_by_task
    from ..tasks import get_task
    from ..training.order import Order, training

    if not dry_run and (out / CONFIG_FILE).exists():
        raise ValueError(f"{out} holds a finished editor already; choose another folder (--out).")
    names = tuple(get_task(name.strip()).name for name in tasks.split(","))
    if data:
        names = tuple(files_by_task(data))
    chosen, values = get_method(method), assignments(set_values or ())
    source = FileSource(files_by_task(data), files_by_task(test or ())) if data else default_source()
    tell = Printed() if together().first else no_progress
    backbone = load_backbone(model, LoadOptions(device, dtype), tell)
    ready = training(
        Order(
            chosen,
            backbone,
            source,
            names,
            instructions,
            recipe,
            start,
            steps,
            rank,
            values,
            seed,
            tell,
            patience,
        )
    )
    if dry_run:
        tell("Timing a few edits…")
        takes = ready.estimate()
        tell("")
        lines = [f"{name:<13}{figure}" for name, figure in takes.items()]
    else:
        tell("")
        ready.run(out)
        lines = [f"The editor lies in {out}. It is used by", f"  {use_command(out, model)}"]
    if together().first:
        print("\n".join(lines))


def average(
    editors: Annotated[
        list[Path], typer.Argument(help="Folders of finished editors that went on from one start.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for their mean.")],
    model: Model = "atlas",
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """The mean of several editors of one base model, weight by weight: what each learned by chance partly
    cancels.
    """
    from ..catalog import load_backbone
    from ..loading import LoadOptions
    from ..methods import load_method
    from ..methods.editor_folder import read_config
    from ..methods.hypernetwork_method import HypernetworkMethod
    from ..training import averaging

    backbone = load_backbone(model, LoadOptions(device, dtype))
    trained = [
        cast(HypernetworkMethod, load_method(read_config(folder).method, backbone, folder))
        for folder in editors
    ]
    averaging.average(trained).save(out)
