"""GGUF files: looked at, and converted once into a folder that transformers reads fast.

transformers' own reader dequantises and renames the tensors; families.py decides which architectures load.
The folder lies in the cache, by the file's sha256: the same file is never converted twice.
"""

import json
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from .cache import cache_folder, check_room, made_whole, sha256_of, writable_cache
from .families import family_for
from .progress import Progress, no_progress

SUFFIX = ".gguf"
NOTE = "gguf.json"  # beside the converted weights: which file they came from
_MAGIC = b"GGUF"
_ONE_OF_SEVERAL = (
    "{} is one of several shards; merge them into one file first (llama.cpp: llama-gguf-split --merge)."
)
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")
# bytes of a value by GGUF's number for its type (ggml/docs/gguf.md); texts and lists carry their lengths
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST = 8, 9
# what a reader of headers raises when the bytes end too early or mean nothing
_BROKEN = (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error, NotImplementedError)


def converted_folder(sha256: str) -> Path:
    """The folder in the cache for the conversion of the file with this sha256."""
    return cache_folder() / "models" / sha256[:24]


def file_in(folder: Path) -> Path | None:
    """The GGUF file of a folder that holds no model of another kind; ValueError where there are several."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files or (folder / "config.json").exists():
        return None
    if len(files) > 1 and not _SHARD.search(files[0].stem):
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{folder} holds several GGUF files ({names}); give the path of one of them.")
    return files[0]


def digest_of(path: Path) -> str:
    """The sha256 of a GGUF file. ValueError in a sentence: missing, not GGUF, one shard of several."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}; check the path.")
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC:
        raise ValueError(
            f"{path} is not a GGUF file: it begins with {start!r}, and GGUF begins with {_MAGIC!r}."
        )
    if _SHARD.search(path.stem):
        raise ValueError(_ONE_OF_SEVERAL.format(path))
    return sha256_of(path)


@dataclass(frozen=True)
class Header:
    """What a file says of itself: the model's configuration, and whether its weights are quantised."""

    path: Path
    config: PretrainedConfig
    quantised: bool


def header_of(path: Path) -> Header:
    """Read a file's header. ValueError in a sentence: cut short, of an unknown version or architecture, one
    shard of several.
    """
    from gguf import GGMLQuantizationType, GGUFReader

    try:
        _check_counts(path)
        reader = GGUFReader(path)
        shards = int(reader.fields["split.count"].contents()) if "split.count" in reader.fields else 1
        architecture = str(reader.fields["general.architecture"].contents())
        types = {tensor.tensor_type for tensor in reader.tensors}
    except _BROKEN as error:
        raise ValueError(
            f"{path} is not a whole GGUF file of version 2 or 3 ({in_one_line(error)}); it may be cut short: "
            "fetch it again."
        ) from error
    if shards > 1:
        raise ValueError(_ONE_OF_SEVERAL.format(path))
    try:
        with _alone(path) as folder:
            config = AutoConfig.from_pretrained(folder, gguf_file=path.name)
    except (*_BROKEN, OSError, AttributeError) as error:
        raise ValueError(
            f"{path} holds a model of the architecture '{architecture}', which cannot be read from GGUF: "
            f"{in_one_line(error)}"
        ) from error
    if family_for(config).encoder_decoder:  # transformers takes the default one, which is wrong for most
        raise ValueError(
            f"{path} holds an encoder-decoder ('{architecture}'), whose activation GGUF files do not tell; "
            "load the model from its safetensors files."
        )
    whole = {GGMLQuantizationType.F32, GGMLQuantizationType.F64}
    return Header(path, config, not types <= whole)


def _check_counts(path: Path) -> None:
    """ValueError or struct.error where a header counts more than its file holds: GGUFReader would count on
    behind the end until the memory is full.
    """
    size, order = path.stat().st_size, "<"
    with path.open("rb") as file:

        def number(form: str) -> int:
            return struct.unpack(order + form, file.read(struct.calcsize(order + form)))[0]

        def skip(n: int) -> None:
            if n > size - file.tell():
                raise ValueError(f"it counts {n} bytes behind byte {file.tell()}, and has {size} in all")
            file.seek(n, 1)

        file.seek(len(_MAGIC))
        if number("I") & 0xFFFF == 0:  # the version, written in the other order
            order = ">"
        tensors, values = number("Q"), number("Q")
        for _ in range(values):
            skip(number("Q"))  # its name
            kind, n = number("I"), 1
            if kind == _LIST:
                kind, n = number("I"), number("Q")
            if kind == _TEXT:
                for _ in range(n):
                    skip(number("Q"))
            else:  # no list within a list: models have none
                skip(n * _SIZES[kind])
        for _ in range(tensors):
            skip(number("Q"))
            skip(8 * number("I"))  # its sizes
            skip(12)  # its type and place


def convert(header: Header, sha256: str, progress: Progress = no_progress) -> Path:
    """The folder of the file's model and tokenizer: safetensors, float16 where the file was quantised, else
    as it was. ValueError where the tokenizer or the weights cannot be read, or the disk is full.
    """
    path, folder = header.path, converted_folder(sha256)
    dtype = torch.float16 if header.quantised else torch.float32
    writable_cache(folder.parent.name)
    check_room(path.stat().st_size * (4 if header.quantised else 1), f"Converting {path.name}")
    told, name = f"Converting {path.name}, once:", path.name
    with _alone(path) as only:
        progress(f"{told} its tokenizer…")
        tokenizer = _reading("tokenizer", path, lambda: _tokenizer(only, name))
        progress(f"{told} its weights…")
        load = AutoModelForCausalLM.from_pretrained
        model, found = _reading(
            "weights", path, lambda: load(only, gguf_file=name, dtype=dtype, output_loading_info=True)
        )
    if missing := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise ValueError(
            f"{path} lacks weights of its model ({', '.join(missing[:3])}{', …' if missing[3:] else ''}); it "
            "may be a part, or made for another program: fetch another file."
        )
    progress(f"{told} writing {model.num_parameters() / 1e6:.0f} million weights…")
    _forget_quantisation(model)
    with made_whole(folder) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        _run_in_bfloat16(part)
        note = {"file": path.name, "sha256": sha256}
        (part / NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """A folder with a link to this file only: transformers would prefer a tokenizer.json beside it."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a system without links
            shutil.copy(path, link)
        yield link.parent


def _reading(what: str, path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # the tokenizers library raises no other kind
        raise ValueError(f"The {what} of {path} cannot be read: {in_one_line(error)}") from error


def _tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer("One that lacks its unknown token fails only when it is used.")
    return tokenizer


def _forget_quantisation(model) -> None:
    """The weights are plain numbers now; transformers refuses to save what it still takes for quantised."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False


def _run_in_bfloat16(folder: Path) -> None:
    """What "auto" means on a GPU: Gemma 3 overflows in the float16 that the weights are stored in."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"dtype": "bfloat16"}, indent=2) + "\n", encoding="utf-8")


def in_one_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return next(iter(str(error).splitlines()), error.__class__.__name__)
