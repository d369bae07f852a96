"""Taking an edit home: one format per file and one line in FORMATS. Every export carries its provenance."""

import tempfile
from pathlib import Path
from types import MappingProxyType

from ..backbone import Backbone
from ..changes import Patch
from ..registry import find, registered
from ..session import EditSession
from .base import BASE, Format
from .lora import LORA
from .merged import MERGED, copy_base
from .plain import DELTA
from .provenance import Provenance
from .reading import is_export, read_export

__all__ = ["FORMATS", "Format", "Provenance", "export", "get_format", "is_export", "read_export"]

FORMATS: MappingProxyType[str, Format] = registered("format", (DELTA, LORA, MERGED))


def get_format(name: str) -> Format:
    """The registered format; ValueError names the known ones."""
    return find("format", FORMATS, name)


def export(
    backbone: Backbone,
    session: EditSession,
    patch: Patch | None,
    name: str,
    folder: Path,
    with_base: bool = False,
) -> Path:
    """Write the session's edits that are on (`patch`, combined) into an empty or new folder; returns it.
    `with_base`: a copy of the base model goes along, where the format needs one and no Hub repo has it.

    ValueError when no edit is on, the format is unknown, an edit is no weight change or the folder holds
    something else.
    """
    entry = get_format(name)
    if patch is None:
        raise ValueError("No edit is on, so there is nothing to export. Switch one on or make one.")
    if patch.delta is None or patch.beside_weights:
        change = patch.beside_weights[0]
        raise ValueError(
            f"The {entry.title} holds weight changes, and one edit is {change.title}: it "
            f"{change.in_words()}. "
            "Switch off such edits, or make them with a method that changes weights."
        )
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "provenance.json").exists()
    ):
        raise ValueError(f"{folder} is not empty and holds no earlier export; choose a new folder.")
    base, own = backbone.origin and backbone.origin.folder.resolve(), folder.resolve()
    if base and (base == own or own in base.parents):
        raise ValueError(f"{folder} holds the base model itself; choose another folder.")
    beside = with_base and entry.needs_base and backbone.origin is not None and not backbone.origin.repo
    provenance = Provenance.of(backbone, session, entry.name, own / BASE if beside else None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # an earlier export stays until this one is whole
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as making:
        whole = Path(making) / folder.name
        whole.mkdir()
        notes = entry.write(backbone, patch.delta, provenance, whole)
        if beside and base:
            copy_base(base, whole / BASE)
        usage = entry.usage(backbone, folder.name, beside)
        provenance.write(whole, entry.title, usage, notes, entry.library)
        if folder.exists():
            folder.replace(Path(making) / "earlier")
        whole.replace(folder)
    return folder
