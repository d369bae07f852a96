"""A training's checkpoint in its folder: safetensors for tensors, JSON for what it belongs to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .following import Look


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a resumed run needs: the network's tensors, the optimiser's state by parameter, the
    looks at held-out edits so far, and the tensors of the best of them (none where nothing stops by them).
    """

    step: int
    network: Mapping[str, Tensor]
    adam: Mapping[int, Mapping[str, Tensor]]
    looks: Sequence[Look] = ()
    best: Mapping[str, Tensor] = field(default_factory=dict)


def files(folder: Path) -> tuple[Path, Path]:
    return folder / "checkpoint.safetensors", folder / "checkpoint.json"


def remove(folder: Path) -> None:
    for path in files(folder):
        path.unlink(missing_ok=True)


def write(folder: Path, checkpoint: Checkpoint, identity: dict) -> None:
    """Whole files only, so a killed write loses nothing. `identity`: what has to be the same to go on."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"network.{name}": tensor for name, tensor in checkpoint.network.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in checkpoint.best.items()}
    tensors |= {f"adam.{i}.{name}": t for i, state in checkpoint.adam.items() for name, t in state.items()}
    weights, meta = files(folder)
    told = {"step": str(checkpoint.step), "looks": json.dumps([asdict(look) for look in checkpoint.looks])}
    part = weights.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=told)
    owner = json.dumps(identity)
    if not meta.exists() or meta.read_text() != owner:
        written = meta.with_name(f"{meta.name}.part")
        written.write_text(owner)
        written.replace(meta)
    part.replace(weights)


def read(folder: Path, identity: dict, device: torch.device) -> Checkpoint | None:
    """The checkpoint in a folder, if there is one; ValueError when it belongs to another training."""
    weights, meta = files(folder)
    if not weights.exists() or not meta.exists():
        return None
    if json.loads(meta.read_text()) != identity:
        raise ValueError(
            f"{folder} holds a checkpoint of a training with other settings or another base model; "
            "resume with those, or choose another folder."
        )
    with safe_open(weights, "pt") as file:
        told = file.metadata()
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "adam": {}}
    for key, tensor in load_file(weights, device=str(device)).items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor
    adam: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["adam"].items():
        index, _, own = name.partition(".")
        adam.setdefault(int(index), {})[own] = tensor
    looks = [Look(**look) for look in json.loads(told.get("looks", "[]"))]
    return Checkpoint(int(told["step"]), parts["network"], adam, looks, parts["best"])
