"""Taking an edit home: one format per file and one line in FORMATS. Every export carries its provenance."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..backbone import Backbone
from ..delta import Delta
from ..registry import find, registered
from ..session import EditSession
from .provenance import Provenance

PROJECT = Path(__file__).parent.parent.parent
__all__ = ["FORMATS", "Format", "Provenance", "export", "get_format"]


@dataclass(frozen=True)
class Format:
    """`write(backbone, patch, provenance, folder)` fills a folder and returns notes for its card; `code` is what uses it, with
    {base} and {folder}; `library` is what the Hub should take it for."""

    name: str
    title: str
    summary: str
    code: str
    write: Callable[[Backbone, Delta, Provenance, Path], str]
    library: str | None = None
    whole_model: bool = False

    def usage(self, backbone: Backbone, folder: str) -> str:
        """The lines of code for this base model and folder."""
        base = backbone.name
        if origin := backbone.origin:
            inside = origin.folder.is_relative_to(PROJECT)
            base = origin.repo or str(origin.folder.relative_to(PROJECT) if inside else origin.folder)
        return self.code.replace("{base}", base).replace("{folder}", folder)


def _registry() -> MappingProxyType[str, Format]:
    from . import lora, merged, plain

    return registered("format", (plain.FORMAT, lora.FORMAT, merged.FORMAT))


def get_format(name: str) -> Format:
    """The registered format; ValueError names the known ones."""
    return find("format", FORMATS, name)


def export(backbone: Backbone, session: EditSession, patch: Delta | None, name: str, folder: Path) -> Path:
    """Write the session's edits that are on (`patch`, combined) into an empty or new folder; returns it.

    ValueError when no edit is on, the format is unknown or the folder holds something else.
    """
    entry = get_format(name)
    if patch is None:
        raise ValueError("No edit is on, so there is nothing to export. Switch one on or make one.")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "provenance.json").exists()):
        raise ValueError(f"{folder} is not empty and holds no earlier export; choose a new folder.")
    base, own = backbone.origin and backbone.origin.folder.resolve(), folder.resolve()
    if base and (base == own or own in base.parents):
        raise ValueError(f"{folder} holds the base model itself; choose another folder.")
    provenance = Provenance.of(backbone, session, entry.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as making:  # an earlier export stays until this one is whole
        whole = Path(making) / folder.name
        whole.mkdir()
        notes = entry.write(backbone, patch, provenance, whole)
        provenance.write(whole, entry.title, entry.usage(backbone, folder.name), notes, entry.library)
        if folder.exists():
            shutil.rmtree(folder)
        whole.replace(folder)
    return folder


FORMATS = _registry()
