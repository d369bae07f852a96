"""`import`: an editor that EasyEdit trained."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Dtype, Model


def import_archive(
    archive: Annotated[
        Path, typer.Argument(help="The file that EasyEdit's training of MEND or InstructEdit wrote.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the editor.")],
    model: Model = "atlas",
    inner_params: Annotated[
        str,
        typer.Option(
            help="The edited matrices in the archive's order: EasyEdit's settings (.yaml) or a text with one "
            "a line; auto: those of the last blocks, where the archive's shapes leave no choice."
        ),
    ] = "auto",
    instructions: Annotated[
        bool, typer.Option(help="--no-instructions: it was trained as MEND, on bare prompts.")
    ] = True,
    device: Device = "cpu",
    dtype: Dtype = "auto",
) -> None:
    """Turn an archive of EasyEdit's MEND or InstructEdit into an editor's folder."""
    from ..catalog import load_backbone
    from ..importing import import_editor
    from ..loading import LoadOptions

    editor = import_editor(
        archive, load_backbone(model, LoadOptions(device, dtype)), inner_params, instructions
    )
    editor.save(out)
    print("\n".join(f"{path} {d_out} x {d_in}" for path, (d_out, d_in) in editor.config.modules.items()))
    print(f"Written to {out}; edit with --editor {out}")
