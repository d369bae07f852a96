"""`pull`, `push`, `discover`: trained editors to and from the Hub."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Model, emit


def pull(
    repo: Annotated[
        str, typer.Argument(help="Hub repo id of an editor, with @revision if it is to be pinned.")
    ],
    out: Annotated[Path | None, typer.Option(help="Also copy the editor into this folder.")] = None,
) -> None:
    """Fetch an editor into the local cache and print where it lies."""
    import shutil

    from .. import editors

    folder = editors.pull(repo)
    if out:
        shutil.copytree(folder, out, dirs_exist_ok=True)
    print(out or folder)


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a trained editor.")],
    repo: Annotated[
        str,
        typer.Argument(
            help="Hub repo id to create or update; "
            "needs a token that may write (HF_TOKEN or 'hf auth login')."
        ),
    ],
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
) -> None:
    """Publish an editor with its model card; prints the commit."""
    from .. import editors

    print(f"{repo}@{editors.push(folder, repo, private)}")


def discover(model: Model = "atlas", device: Device = "cpu", as_json: AsJson = False) -> None:
    """List editors for a base model: in the local cache, and on the Hub by tag."""
    from .. import editors
    from ..catalog import load_backbone
    from ..loading import LoadOptions

    backbone = load_backbone(model, LoadOptions(device))
    found = editors.here(backbone) + editors.discover(backbone)
    if as_json:
        emit([asdict(item) for item in found])
        return
    for item in found:
        print(f"{item.where:<5}{item.source}")
    if not found:
        print(
            f"No editor was found for {model}; train one with 'python -m model_zoo train --model {model} "
            "--out my-editor'."
        )
