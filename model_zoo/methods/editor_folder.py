"""An editor's folder: `config.json`, and `editor.safetensors` with the network's numbers.

Most numbers are stored in float16, those of imported editors in float32. Format versions: 1 read instructions
in another way; 2 lacked the heads of LATER_HEADS; 3 named some heads otherwise (RENAMED). All are read, but
for what a network of format 1 reads of instructions; 4 is written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..backbone import Backbone
from .heads import LATER_HEADS
from .hyper_config import HyperConfig
from .ridge import LAMBDA, MU

CONFIG_FILE, WEIGHTS_FILE = "config.json", "editor.safetensors"
FORMAT_VERSION = 4
RENAMED = {"say": "token_weight", "fit": "strength_head"}  # heads as formats up to 3 named them
COVARIANCE = "covariance."  # before a matrix's path: the root R [r, d_in] of its key covariance R^T R


class EditorConfig(BaseModel):
    """`config.json` of an editor folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    method: str = "instructedit"
    instructed: bool = True  # False: trained without instructions, which makes it MEND
    base_model: str  # its name or repo id
    base_revision: str | None = None  # the commit it was loaded at, if it came from the Hub
    base_fingerprint: str | None = None  # of its weights; see Backbone.fingerprint
    modules: dict[str, tuple[int, int]]  # path -> (d_out, d_in)
    hyper: HyperConfig = HyperConfig()
    tasks: tuple[str, ...] = ()
    target_end: str = ""  # put behind the target in the edit's own row, to end its last word
    stop: bool = False  # behind the target the edit's own row ends with the model's end token
    ridge_lambda: float = LAMBDA  # of the joint solve, where the network has not learned its own
    ridge_mu: float = MU
    training: dict = {}
    metrics: dict = {}

    @property
    def reads_scopes(self) -> bool:
        """Whether it was trained on instructions that say how far an edit reaches."""
        return self.instructed and self.training.get("scope_share", 0) > 0

    @property
    def training_in_words(self) -> str:
        """How long it was trained, and on what; empty where it does not say."""
        told = self.training
        if "steps" not in told:
            return ""
        size = told.get("edits") or told.get("batch")
        return (
            f"trained for {told['steps']} steps"
            + (f" of {size} edits" if size else "")
            + (f" on {', '.join(self.tasks)}" if self.tasks else "")
            + (", from where another editor ended" if told.get("start") else "")
            + (f" by {told['by']}" if "by" in told else "")
        )


@dataclass(frozen=True)
class EditorTensors:
    """The numbers in an editor's folder, in float32."""

    network: Mapping[str, Tensor]  # by their names in the network's state_dict
    covariance: Mapping[str, Tensor]  # C [d_in, d_in] by module path; none where the network's basis says it


def read_config(folder: Path) -> EditorConfig:
    """An editor folder's configuration; ValueError names the folder and the first thing that is wrong."""
    path = folder / CONFIG_FILE
    try:
        return EditorConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise ValueError(f"{path} is not an editor's configuration: {place}: {wrong['msg']}.") from error
    except (OSError, ValueError, RecursionError) as error:  # no JSON, no text, or lists without end
        raise _unreadable(folder, error) from error


def write_config(folder: Path, config: EditorConfig) -> None:
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def check_base(config: EditorConfig, backbone: Backbone, folder: Path) -> None:
    """ValueError naming both sides when an editor was trained for other weights than the backbone's."""
    made_for = _named(config.base_model, config.base_revision)
    loaded = _named(backbone.name, backbone.origin.commit if backbone.origin else None)
    present = dict(backbone.model.named_modules())
    for path, shape in config.modules.items():
        found = backbone.shape(path) if path in present else None
        if found != tuple(shape):
            here = "no such module" if found is None else f"{found[0]}x{found[1]} there"
            raise ValueError(
                f"The editor in {folder} was made for {made_for}, whose {path} is {shape[0]}x{shape[1]}; "
                f"{loaded} has {here}. Choose an editor made for {loaded}."
            )
    if config.base_fingerprint and config.base_fingerprint != backbone.fingerprint:
        raise ValueError(
            f"The editor in {folder} was made for {made_for} (weights {config.base_fingerprint}), "
            f"but {loaded} has other weights ({backbone.fingerprint}). "
            f"Choose an editor made for {loaded}, or load the base model it was made for."
        )


def read_for(folder: Path, backbone: Backbone, method: str) -> EditorConfig:
    """The configuration of an editor of this method for this base. ValueError names what does not fit."""
    config = read_config(folder)
    check_base(config, backbone, folder)
    if config.method != method:
        raise ValueError(
            f"The editor in {folder} was trained for the method {config.method}, and {method} was asked for."
        )
    check_format(config, folder)
    return config


def check_format(config: EditorConfig, folder: Path) -> None:
    """ValueError when this program cannot read the editor's format."""
    newer = config.format_version > FORMAT_VERSION
    read_otherwise = config.format_version < 2 and config.hyper.instruction
    if newer or read_otherwise:
        raise ValueError(
            f"The editor in {folder} has format {config.format_version}, "
            f"and this program reads format {FORMAT_VERSION}. "
            "Train it again, or use the program's version that made it."
        )


def read_tensors(folder: Path, config: EditorConfig) -> EditorTensors:
    """The numbers of an editor's folder, by the names of today; ValueError when the file cannot be read."""
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from error
    network, covariance = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(COVARIANCE):
            root, path = tensor.float(), name.removeprefix(COVARIANCE)
            if path not in config.modules or root.shape[1:] != config.modules[path][1:]:
                sizes = tuple(root.shape)
                raise _unreadable(folder, ValueError(f"{name} of sizes {sizes} fits none of its matrices."))
            covariance[path] = root.T @ root
        else:
            network[_name_of_today(name, config.format_version)] = tensor.float()
    return EditorTensors(network, covariance)


def write_tensors(
    folder: Path, tensors: EditorTensors, covariance_rank: int, dtype: torch.dtype = torch.float16
) -> None:
    """Write the numbers; of each key covariance only so many leading eigenvectors."""
    stored = {}
    for name, tensor in tensors.network.items():
        # normalisation statistics and learning rates span more orders of magnitude than float16 holds
        exact = name.endswith(("_mean", "_std", "_size", ".scales")) or name.startswith("log_lr")
        stored[name] = tensor.cpu().to(torch.float32 if exact else dtype).contiguous()
    for path, matrix in tensors.covariance.items():
        values, vectors = torch.linalg.eigh(matrix.double())
        scales = values[-covariance_rank:].clamp(min=0).sqrt()
        root = (vectors[:, -covariance_rank:] * scales).T
        stored[COVARIANCE + path] = root.half().contiguous()
    save_file(stored, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def is_lacking(name: str, config: EditorConfig) -> bool:
    """Whether an editor of that format has no such tensor: it is then left at its initial zero."""
    return config.format_version < 3 and name.split(".")[-2] in LATER_HEADS


def _name_of_today(name: str, format_version: int) -> str:
    """`fit.weight` -> `strength_head.weight`; names that were not changed stay."""
    if format_version > 3:
        return name
    parts = name.split(".")
    return ".".join([*parts[:-2], *(RENAMED.get(head, head) for head in parts[-2:-1]), parts[-1]])


def _named(model: str, commit: str | None) -> str:
    return f"{model} at revision {commit[:8]}" if commit else model


def _unreadable(folder: Path, error: Exception) -> ValueError:
    return ValueError(f"No editor could be loaded from {folder}: {str(error).splitlines()[0]}")
