"""Statistics of keys: what the inputs of edited matrices look like where the base model predicts its own
answers.

A key is the input u [d_in] of an edited matrix at one token. Methods measure an edit's keys against those of
everything that should stay (the covariance of ROME, arXiv 2202.05262, and MEMIT). Any rows will do: facts of
a source, or running text. Results are kept on disk, by the base model's fingerprint and a digest of the rows.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .backbone import Backbone
from .cache import cache_folder
from .generation import written
from .joining import Joined
from .progress import Progress, no_progress

Pair = tuple[str, str]  # a prompt and the answer behind it
ROWS = 128  # of one forward pass
STARTS, WRITTEN, WRITERS = 256, 48, 32  # texts that the model writes, tokens of each, texts at once


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
    backbone: Backbone, starts: Sequence[str], paths: Sequence[str], progress: Progress = no_progress
) -> dict[str, Tensor]:
    """Mean u u^T [d_in, d_in] per matrix over all tokens but the first of running text, which the base model
    itself writes behind each of `starts` (drawn from its own probabilities, seed 0).

    Methods that change what a subject's own tokens carry need the keys of every kind of token. ValueError
    where there are no starts.
    """
    starts = list(dict.fromkeys(starts))[:STARTS]
    if not starts:
        raise ValueError("The covariance of keys needs texts to go on from, and none are at hand.")
    kept = _kept("text-covariance", backbone, [(start, str(WRITTEN)) for start in starts], paths)
    if kept.exists():
        return load_file(kept)
    sums: dict[str, Tensor] = {}
    count = 0
    for i in range(0, len(starts), WRITERS):
        part = starts[i : i + WRITERS]
        ids = [backbone.ids(text) for text in written(backbone, part, WRITTEN, seed=i)]
        inputs, real = backbone.inputs([Joined(own, len(own)) for own in ids if len(own) > 1], paths)
        real[:, 0] = False  # the first token's state is no word's: attention comes to rest there
        count += int(real.sum())
        for path in paths:
            u = inputs[path][real]
            sums[path] = sums.get(path, 0) + (u.T @ u).cpu()
        progress(f"Measuring keys in the model's own text: {min(i + WRITERS, len(starts))} of {len(starts)}")
    return _keep({path: total / count for path, total in sums.items()}, kept)


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
    return cache_folder() / "statistics" / f"{what}-{digest}.safetensors"


def _keep(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Write a result where it will be found again; a folder that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, part)
        part.replace(path)
    except (OSError, SafetensorError):
        pass
    return found
