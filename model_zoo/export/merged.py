"""The edited model as a whole: the base's own files, shard by shard, with the change added to the edited
matrices.

Memory is bounded by one shard. Edited matrices stay in float32: loaded in float32 the edit is exact; the card
says whether the targets survive the rounding to the base's own dtype. Tied weights are stored once, as in the
base.
"""

import shlex
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..backbone import Backbone
from ..changes import Delta, LayerDelta, Patch
from ..checkpoints import Checkpoint
from ..generation import probabilities
from .base import Format
from .provenance import Provenance

SHOWN = 50  # edits, at most, whose survival of rounding is told
COPIED = ("*.json", "*.txt", "*.model", "*.jinja")  # chat templates are among them


def copy_texts(source: Path, folder: Path) -> None:
    """A model's files but its weights: configuration, tokenizer, chat template."""
    for pattern in COPIED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def copy_base(source: Path, folder: Path) -> None:
    """A model's files, whole, into a new folder."""
    folder.mkdir()
    copy_texts(source, folder)
    for shard in Checkpoint(source).shards:
        shutil.copyfile(shard, folder / shard.name)


def write(backbone: Backbone, patch: Delta, provenance: Provenance, folder: Path) -> str:
    if backbone.origin is None:
        raise ValueError(
            f"{backbone.name} was made in memory and has no files to merge into; save it to a folder and "
            "load it from there."
        )
    source = backbone.origin.folder
    copy_texts(source, folder)
    stored = Checkpoint(source)
    edited = {stored.name_of(path): path for path in patch.layers}
    dtypes: set[torch.dtype] = set()
    for shard in stored.shards:
        dtypes |= _write_shard(shard, folder / shard.name, edited, backbone, patch)
    survival = _survival(backbone, patch, provenance, next(iter(dtypes)))
    return (
        f"The {len(edited)} edited matrices are stored in float32. {survival}\n\n"
        f"Other engines, by their documentation (not run here):\n\n{_served(shlex.quote(folder.name))}"
    )


def _served(folder: str) -> str:
    """The commands by which other engines take a folder in the Hub's layout."""
    return (
        f"    vllm serve {folder}\n"
        f"    python -m sglang.launch_server --model-path {folder}\n"
        f"    python convert_hf_to_gguf.py {folder} --outfile edited.gguf  # llama.cpp's\n"
        "    llama-cli -m edited.gguf\n"
    )


def _write_shard(
    shard: Path, target: Path, edited: dict[str, str], backbone: Backbone, patch: Delta
) -> set[torch.dtype]:
    """Copy one shard with its edited matrices changed; returns the dtypes these had."""
    with safe_open(shard, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - not a dict
    dtypes = set()
    for name in tensors.keys() & edited.keys():
        dtypes.add(tensors[name].dtype)
        change = patch.layers[edited[name]].dense()
        tensors[name] = tensors[name].float() + (change.T if backbone.transposed(edited[name]) else change)
    save_file(
        {name: t.contiguous() for name, t in tensors.items()}, target, metadata=metadata or {"format": "pt"}
    )
    return dtypes


def _survival(backbone: Backbone, patch: Delta, provenance: Provenance, dtype: torch.dtype) -> str:
    """Whether each target is still the likelier one when the edited matrices are rounded to the base's own
    dtype.
    """
    if dtype == torch.float32:
        return "That is the base's own dtype."
    rounded = Delta(
        {
            path: LayerDelta(D=_rounded(backbone.weight(path), layer.dense(), dtype))
            for path, layer in patch.layers.items()
        }
    )
    shown = provenance.edits[:SHOWN]
    prompts, targets = ([edit[key] for edit in shown] for key in ("prompt", "target"))
    exact, coarse = (
        probabilities(backbone, prompts, targets, [Patch((delta,))] * len(prompts))
        for delta in (patch, rounded)
    )
    table = zip(prompts, targets, exact, coarse, strict=True)
    rows = "\n".join(f"| {p} | {t} | {a:.1%} | {b:.1%} |" for p, t, a, b in table)
    name = str(dtype).removeprefix("torch.")
    head = f"| prompt | target | float32 | {name} |\n|---|---|---|---|"
    which = "each target" if len(shown) == len(provenance.edits) else f"the first {len(shown)} targets"
    return f"Probability of {which} as stored, and after rounding to the base's {name}:\n\n{head}\n{rows}\n"


def _rounded(weight: Tensor, change: Tensor, dtype: torch.dtype) -> Tensor:
    """The change that remains when W + dW is stored in a narrower dtype."""
    weight = weight.float().cpu()
    return (weight + change).to(dtype).float() - weight


MERGED = Format(
    name="merged",
    title="Merged model",
    summary="The whole edited model, for programs that take nothing else.",
    library="transformers",
    code="from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{folder}", dtype="float32")\n'
    'tokenizer = AutoTokenizer.from_pretrained("{folder}")',
    write=write,
    whole_model=True,
)
