"""The safetensors files of a model's folder, read without loading the model."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def shard_files(folder: Path) -> list[Path]:
    """The weight files, by the index where there is one. ValueError when one is missing."""
    if (folder / INDEX).exists():
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = [WEIGHTS]
    if missing := [name for name in names if not (folder / name).exists()]:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}: weights are read from safetensors files only, never from "
            "pickles."
        )
    return [folder / name for name in names]


def tensor_files(folder: Path) -> dict[str, Path]:
    """{tensor name: the file that holds it}"""
    files: dict[str, Path] = {}
    for path in shard_files(folder):
        try:
            with safe_open(path, "pt") as file:
                files |= {name: path for name in file.keys()}  # noqa: SIM118 - not a dict
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch it again.") from error
    return files


def weight_name(names, module: str) -> str:
    """The stored name of a module's weight; a checkpoint may leave out the first parts of the path (h.0...
    for transformer.h.0...).
    """
    parts = f"{module}.weight".split(".")
    for i in range(len(parts)):
        if (name := ".".join(parts[i:])) in names:
            return name
    raise ValueError(f"The checkpoint holds no weight for {module}.")


def corner(files: dict[str, Path], module: str, size: int = 16) -> Tensor:
    """The first rows and columns of a module's weight, as stored; `files` from `tensor_files`."""
    name = weight_name(files, module)
    with safe_open(files[name], "pt") as file:
        return file.get_slice(name)[:size, :size]
