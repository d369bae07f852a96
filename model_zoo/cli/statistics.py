"""`statistics`: those of a base model's keys, taken ahead of time, to and from the Hub."""

from typing import Annotated

import typer

from .options import Device, Dtype, Model, Text, method_names


def statistics(
    model: Model = "atlas",
    methods: Annotated[
        str | None,
        typer.Option(help="Take what these need, separated by commas; default: all that need any."),
    ] = None,
    text: Text = None,
    push: Annotated[
        str | None, typer.Option(help="Then upload all that is kept of the model to this Hub repo.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create that repo as a private one.")] = False,
    pull: Annotated[
        str | None, typer.Option(help="Take them from this Hub repo, in place of taking them here.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Take the statistics that ROME and its kind measure edits against, ahead of the first edit."""
    from .. import statistics as kept
    from ..loading import LoadOptions
    from ..methods import METHODS
    from .opening import opened

    if pull and (methods or text or push):
        raise ValueError("--pull takes what is in the repo, and no --methods, --text or --push go with it.")
    names = (
        method_names(methods)
        if methods
        else [method.name for method in METHODS.values() if method.needs_statistics]
    )
    studio = opened(model, LoadOptions(device, dtype), None, text)
    if pull:
        for path in kept.pull(studio.backbone, pull):
            print(path)
        return
    for name in names:
        studio.method(name)
        print(f"{name}: ready")
    print(kept.folder_of(studio.backbone))
    if push:
        print(f"{push}@{kept.push(studio.backbone, push, private)}")
