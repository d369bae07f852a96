"""Statistics of keys: what the inputs of edited matrices look like where the base model predicts its own
answers.

A key is the input u [d_in] of an edited matrix at one token. Methods measure an edit's keys against those of
everything that should stay (the covariance of ROME, arXiv 2202.05262, and MEMIT). Any rows will do: facts of
a source, or running text. Results are kept on disk, in a folder of the base model's fingerprint, by a digest
of the rows; that folder goes to the Hub and comes from there.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import ModelCardData
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .backbone import Backbone
from .cache import cache_folder, writable_cache
from .generation import written
from .hub import fetch, publish
from .joining import Joined
from .progress import Progress, no_progress

CARD = "README.md"
Pair = tuple[str, str]  # a prompt and the answer behind it
ROWS = 128  # of one forward pass
STARTS, WRITTEN, WRITERS = 256, 48, 32  # texts that the model writes, tokens of each, texts at once
PASSAGES, PASSAGE = 512, 96  # of a given text, drawn: how many, and the tokens of each at most
SHORTEST = 20  # words that a line of a text needs to count as a passage: headings have fewer


@torch.no_grad()
def key_covariance(
    backbone: Backbone, pairs: Iterable[Pair], paths: Sequence[str], progress: Progress = no_progress
) -> dict[str, Tensor]:
    """Mean u u^T [d_in, d_in] per matrix over the tokens that predict an answer.

    Over all tokens the names themselves would count as the commonest of directions, and they are what tells
    one edit from another. ValueError where there are no rows.
    """
    pairs = list(pairs)
    if not pairs:
        raise ValueError("The covariance of keys needs at least one row of text, and none was given.")
    kept = _kept("covariance", backbone, pairs, paths)
    if kept.exists():
        return load_file(kept)
    rows = [backbone.join(*pair) for pair in pairs]
    sums: dict[str, Tensor] = {}
    count = 0
    for i in range(0, len(rows), ROWS):
        inputs, _ = backbone.inputs(rows[i : i + ROWS], paths)
        predicting = backbone.batch(rows[i : i + ROWS]).predicting
        count += int(predicting.sum())
        for path in paths:
            u = inputs[path][predicting]  # (tokens, d_in)
            sums[path] = sums.get(path, 0) + (u.T @ u).cpu()
        progress(f"Measuring keys: {min(i + ROWS, len(rows))} of {len(rows)} rows")
    return _keep({path: total / count for path, total in sums.items()}, kept)


@torch.no_grad()
def text_covariance(
    backbone: Backbone,
    starts: Sequence[str],
    paths: Sequence[str],
    progress: Progress = no_progress,
    text: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Mean u u^T [d_in, d_in] per matrix over all tokens but the first of running text: of passages drawn
    from `text`, else of what the base model itself writes behind each of `starts`, drawn from its own
    probabilities; both with seed 0.

    Methods that change what a subject's own tokens carry need the keys of every kind of token. ValueError
    where there is neither.
    """
    texts = random.Random(0).sample(list(text), min(PASSAGES, len(text)))
    starts = list(dict.fromkeys(starts))[:STARTS]
    if not texts and not starts:
        raise ValueError("The covariance of keys needs texts to go on from, and none are at hand.")
    what = [(passage, str(PASSAGE)) for passage in texts] or [(start, str(WRITTEN)) for start in starts]
    kept = _kept("text-covariance", backbone, what, paths)
    if kept.exists():
        return load_file(kept)
    sums: dict[str, Tensor] = {}
    count = 0
    for i in range(0, len(what), WRITERS):
        part = [own for own, _ in what[i : i + WRITERS]]
        read = part if texts else written(backbone, part, WRITTEN, seed=i)
        ids = [backbone.ids(own)[: PASSAGE if texts else None] for own in read]
        inputs, real = backbone.inputs([Joined(own, len(own)) for own in ids if len(own) > 1], paths)
        real[:, 0] = False  # the first token's state is no word's: attention comes to rest there
        count += int(real.sum())
        for path in paths:
            u = inputs[path][real]
            sums[path] = sums.get(path, 0) + (u.T @ u).cpu()
        of = "the text" if texts else "the model's own text"
        progress(f"Measuring keys in {of}: {min(i + WRITERS, len(what))} of {len(what)}")
    return _keep({path: total / count for path, total in sums.items()}, kept)


def passages_of(path: Path) -> tuple[str, ...]:
    """The lines of a text file that are long enough to be running text. ValueError where it has none, or
    cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The text {path} cannot be read: {error}. Give a UTF-8 text file.") from error
    found = tuple(line.strip() for line in lines if len(line.split()) >= SHORTEST)
    if not found:
        raise ValueError(f"The text {path} has no line of {SHORTEST} words; give running text.")
    return found


@torch.no_grad()
def keys_by_group(
    backbone: Backbone,
    groups: Iterable[Sequence[Pair]],
    paths: Sequence[str],
    progress: Progress = no_progress,
) -> dict[str, list[Tensor]]:
    """The keys [n, d_in] at which an answer begins, per matrix and group of rows (of one relation, for
    instance).
    """
    groups = list(groups)
    keys: dict[str, list[Tensor]] = {path: [] for path in paths}
    for i, pairs in enumerate(groups):
        rows = [backbone.join(*pair) for pair in pairs]
        inputs, _ = backbone.inputs(rows, paths)
        predicting = backbone.batch(rows).predicting
        first = predicting & (predicting.cumsum(1) == 1)
        for path in paths:
            keys[path].append(inputs[path][first].cpu())
        progress(f"Measuring keys: {i + 1} of {len(groups)} groups of rows")
    return keys


def _kept(what: str, backbone: Backbone, pairs: Sequence[Pair], paths: Sequence[str]) -> Path:
    """The file of one result: everything that it depends on is in its name."""
    told = [backbone.fingerprint, str(backbone.model.dtype), backbone.device.type, list(pairs), list(paths)]
    digest = hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()[:24]
    return folder_of(backbone) / f"{what}-{digest}.safetensors"


def folder_of(backbone: Backbone) -> Path:
    """Where a base model's statistics are kept."""
    return cache_folder() / "statistics" / backbone.fingerprint


def _keep(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Write a result where it will be found again; a folder that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        told = {"format": "pt", "base": path.parent.name}
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, part, told)
        part.replace(path)
    except (OSError, SafetensorError):
        pass
    return found


# ---- to and from the Hub -----------------------------------------------------------------------------------


def push(backbone: Backbone, repo: str, private: bool = False) -> str:
    """Upload what is kept of a base model; returns the commit. ValueError where nothing is."""
    folder = folder_of(backbone)
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"No statistics of {backbone.name} are kept here; take them first.")
    data = ModelCardData(tags=["instructedit-statistics", "knowledge-editing"])
    (folder / CARD).write_text(
        f"---\n{data.to_yaml()}\n---\n\n# Statistics of keys of {backbone.published_name}\n\n"
        f"Of the weights `{backbone.fingerprint}`: mean u u^T of the inputs of edited matrices, which ROME "
        "and its kind measure edits against. They are found where the model runs on the same kind of device "
        f"({backbone.device.type}) in the same precision ({backbone.model.dtype}). Use:\n\n"
        f"    python -m model_zoo statistics --model {backbone.published_name} --pull {repo}\n",
        encoding="utf-8",
    )
    return publish(folder, repo, [*files, CARD], private)


def pull(backbone: Backbone, repo: str) -> list[Path]:
    """Fetch statistics of a base model into the cache; the files. ValueError where a file is none of this
    model's.
    """
    found = sorted(fetch(repo, ["*.safetensors"]).folder.glob("*.safetensors"))
    for path in found:
        try:
            with safe_open(path, "pt") as file:
                base = (file.metadata() or {}).get("base")
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path.name} of {repo} cannot be read: {error}.") from error
        what = f"{path.name} of {repo}"
        if base != backbone.fingerprint:
            raise ValueError(
                f"{what} is of the weights {base or '(not said)'}, and {backbone.name} has "
                f"{backbone.fingerprint}; take its own."
            )
        _check(tensors, backbone, what)
    if not found:
        raise ValueError(f"{repo} holds no statistics (*.safetensors).")
    folder = writable_cache("statistics", backbone.fingerprint)
    return [Path(shutil.copyfile(path, folder / path.name)) for path in found]


def _check(tensors: Mapping[str, Tensor], backbone: Backbone, what: str) -> None:
    """ValueError where a matrix is not there, or its inputs are not as wide."""
    modules = dict(backbone.model.named_modules())
    for path, matrix in tensors.items():
        wide = backbone.shape(path)[1] if path in modules else None
        if wide is None or matrix.shape != (wide, wide):
            there = f"{wide} inputs" if wide else "no such matrix"
            raise ValueError(
                f"{what} is not of {backbone.name}: it has {tuple(matrix.shape)} for {path}, and there are "
                f"{there}."
            )
