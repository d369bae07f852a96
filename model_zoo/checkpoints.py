"""A model's stored tensors, read without loading the model. Safetensors folders, whole or in shards."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

SINGLE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model's folder: their names, shapes, corners and bytes, as stored."""

    folder: Path

    @cached_property
    def shards(self) -> list[Path]:
        """The weight files, by the index where there is one. ValueError when one is missing."""
        names = [SINGLE_FILE]
        if (self.folder / INDEX).exists():
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        missing = [name for name in names if not (self.folder / name).exists()]
        if missing:
            raise ValueError(
                f"{self.folder} lacks {', '.join(missing)}: weights are read from safetensors files only, "
                "never from pickles."
            )
        return [self.folder / name for name in names]

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """{tensor name: the file that holds it}"""
        found: dict[str, Path] = {}
        for path in self.shards:
            try:
                with safe_open(path, "pt") as file:
                    found |= dict.fromkeys(file.keys(), path)
            except SafetensorError as error:
                raise ValueError(
                    f"{path} is not a whole safetensors file ({error}); fetch it again."
                ) from error
        return found

    @property
    def bytes(self) -> int:
        """What the weight files take on disk."""
        return sum(path.stat().st_size for path in self.shards)

    def name_of(self, module: str) -> str:
        """The stored name of a module's weight. ValueError where there is none."""
        return stored_name(self.files, module)

    def shape(self, module: str) -> tuple[int, ...]:
        """The shape of a module's weight, as stored."""
        name = self.name_of(module)
        with safe_open(self.files[name], "pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def corner(self, module: str, size: int = 16) -> Tensor:
        """The first rows and columns of a module's weight, as stored."""
        name = self.name_of(module)
        with safe_open(self.files[name], "pt") as file:
            return file.get_slice(name)[:size, :size]


def stored_name(names: Iterable[str], module: str) -> str:
    """The stored name of a module's weight: the one that shares the longest end of the path, down to the
    block's number. A checkpoint may leave out first parts (h.0... for transformer.h.0...) or write others.
    """
    known, parts = list(names), f"{module}.weight".split(".")
    block = next((i for i, part in enumerate(parts) if part.isdigit()), 0)
    for i in range(block + 1):
        end = ".".join(parts[i:])
        if len(found := [name for name in known if f".{name}".endswith(f".{end}")]) == 1:
            return found[0]
    raise ValueError(f"The checkpoint holds no weight for {module}.")
