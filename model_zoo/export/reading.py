"""An export read again, to go on from: `delta.safetensors`, alone or in its folder, or the folder of a LoRA
adapter that was exported here.
"""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ..changes import Delta, LayerDelta
from ..changes.delta import FILE_NAME
from .lora import ADAPTER, PREFIX
from .provenance import FILE, Provenance


def is_export(path: Path) -> bool:
    """Whether a file or folder is an export that holds a weight change of its own."""
    return path.name == FILE_NAME or (path / FILE_NAME).is_file() or (path / ADAPTER).is_file()


def read_export(path: Path) -> tuple[Delta, Provenance]:
    """(the weight change, what it says of itself). ValueError where it cannot be read, or does not say which
    edits it holds.
    """
    try:
        if (path / ADAPTER).is_file():
            delta, told = _adapter(path), (path / FILE).read_text(encoding="utf-8")
        else:
            file = path if path.is_file() else path / FILE_NAME
            delta = Delta.load(file)
            with safe_open(file, "pt") as opened:
                told = (opened.metadata() or {}).get("provenance", "")
        provenance = TypeAdapter(Provenance).validate_json(told)
    except ValidationError as error:
        raise ValueError(
            f"{path} does not say which edits of which model it holds, so it cannot be gone on from."
        ) from error
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as an export: {error}.") from error
    if not provenance.edits:
        raise ValueError(f"{path} names no edit, so it cannot be gone on from.")
    return delta, provenance


def _adapter(folder: Path) -> Delta:
    """The change of a LoRA adapter: its matrices A [r, d_in] and B [d_out, r], of scale 1."""
    layers: dict[str, dict] = {}
    for key, tensor in load_file(folder / ADAPTER).items():
        path, _, side = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".lora_")
        if side not in ("A", "B") or not path:
            raise ValueError(f"{folder / ADAPTER} holds '{key}', which no adapter of this program does.")
        layers.setdefault(path, {})[side] = tensor
    try:
        return Delta({path: LayerDelta(**sides) for path, sides in layers.items()})
    except ValueError as error:
        raise ValueError(f"{folder / ADAPTER} cannot be read as an adapter: {error}") from error
