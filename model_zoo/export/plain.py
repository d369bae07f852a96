"""The edit as this program keeps it: `delta.safetensors`."""

from dataclasses import asdict
from pathlib import Path

from ..backbone import Backbone
from ..changes import Delta
from .base import Format
from .provenance import Provenance


def write(backbone: Backbone, patch: Delta, provenance: Provenance, folder: Path) -> str:
    patch.save(folder, asdict(provenance))
    return ""


DELTA = Format(
    name="delta",
    title="Weight changes (delta.safetensors)",
    summary="The exact change per matrix, as this program keeps it.",
    code="from model_zoo import Delta\n"
    'delta = Delta.load("{folder}/delta.safetensors")\nprint(delta.norms())',
    write=write,
)
