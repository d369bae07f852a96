"""Trained editors as repos: `config.json`, `editor.safetensors` and a model card. Found, pulled and pushed by
tag, never by organisation.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData, constants

from .backbone import Backbone
from .catalog import CATALOG, CatalogEntry
from .evaluation.summary import OF_TEXT
from .hub import HubError, Report, fetch, publish, search
from .methods import get_method
from .methods.editor_folder import CONFIG_FILE, WEIGHTS_FILE, EditorConfig, read_config, write_config

FILES = [CONFIG_FILE, WEIGHTS_FILE, "README.md"]
TAG = "instructedit-editor"


def base_tag(fingerprint: str) -> str:
    """The tag that finds an editor by its base model's weights, wherever they lie and whatever they are
    called.
    """
    return f"base-weights-{fingerprint}"


@dataclass(frozen=True)
class FoundEditor:
    """`source`: what to give as --editor, a folder or `org/name@commit`; `where`: "here" or "hub"."""

    source: str
    title: str
    where: str


def resolve(editor: str | Path, report: Report | None = None) -> Path:
    """The folder of an editor given as a folder, `org/name` or `org/name@revision`."""
    path = Path(editor)
    if os.path.isfile(path / CONFIG_FILE):  # no error for a name that is too long for one
        return path
    if path.is_absolute() or os.path.exists(path):
        raise HubError(f"There is no folder with an editor {editor}; check the path, or give a Hub repo id.")
    return pull(str(editor), report=report)


def pull(repo: str, revision: str | None = None, report: Report | None = None) -> Path:
    """Fetch an editor at a pinned commit into the local cache and check its configuration; returns its
    folder.
    """
    snapshot = fetch(repo, FILES, revision, report)
    missing = [name for name in FILES[:2] if not (snapshot.folder / name).exists()]
    if missing:
        raise HubError(f"'{repo}' is not an editor repo: it lacks {' and '.join(missing)}.")
    read_config(snapshot.folder)
    return snapshot.folder


def push(folder: Path, repo: str, private: bool = False) -> str:
    """Write the model card and upload an editor folder; returns the commit."""
    config = read_config(folder)
    if not (folder / WEIGHTS_FILE).exists():
        raise ValueError(f"{folder} holds no {WEIGHTS_FILE}; train an editor there first.")
    (folder / "README.md").write_text(card(config, repo), encoding="utf-8")
    return publish(folder, repo, FILES, private)


def here(backbone: Backbone, trained: Path | None = None) -> list[FoundEditor]:
    """Editors that were trained for these weights: in the local cache, and in the folders in `trained`."""
    found = []
    for path in sorted(Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{WEIGHTS_FILE}")):
        repo = path.parts[-4].removeprefix("models--").replace("--", "/")
        if _is_for(backbone, path.parent):
            found.append(FoundEditor(f"{repo}@{path.parts[-2]}", f"{repo} (in the cache)", "here"))
    for path in sorted(trained.glob(f"*/{WEIGHTS_FILE}")) if trained else ():
        if _is_for(backbone, path.parent):
            found.append(FoundEditor(str(path.parent), f"{path.parent.name} (trained here)", "here"))
    return found


def use_command(folder: Path, model: str) -> str:
    """The command that edits a base model with the editor in a folder, as a shell takes it."""
    place, base = shlex.quote(str(folder)), shlex.quote(model)
    return f'python -m model_zoo edit --model {base} --editor {place} --prompt "..." --target "..."'


def _is_for(backbone: Backbone, folder: Path) -> bool:
    try:
        return read_config(folder).base_fingerprint == backbone.fingerprint
    except ValueError:  # somebody else's file of that name
        return False


def for_scopes() -> CatalogEntry | None:
    """The first listed model that ships with an editor which reads how far an edit should reach."""
    for entry in CATALOG.values():
        if any(read_config(folder).reads_scopes for folder in entry.editors.values()):
            return entry
    return None


def discover(backbone: Backbone) -> list[FoundEditor]:
    """Editors on the Hub that say they were trained for these weights, or for this base model's repo."""
    models = search(TAG, base_tag(backbone.fingerprint))
    if backbone.origin and backbone.origin.repo:
        models += search(TAG, f"base_model:{backbone.origin.repo}")
    unique = {model["id"]: model for model in models}
    return [
        FoundEditor(f"{name}@{model['sha']}", f"{name} (on the Hub)", "hub") for name, model in unique.items()
    ]


def check_recordable(folder: Path | None) -> None:
    """ValueError where figures cannot be kept: no editor, or one in the Hub's cache, whose files are a
    commit's.
    """
    if folder is None:
        raise ValueError("There is no editor to record the figures in; this method works without one.")
    if Path(constants.HF_HUB_CACHE).resolve() in folder.resolve().parents:
        raise ValueError(
            f"{folder} belongs to the Hub's cache; copy it with 'pull --out FOLDER' and measure that."
        )


def record_metrics(folder: Path, results: dict, method: str) -> None:
    """Put the generated scores of an `evaluate` run into an editor's configuration. ValueError for a method
    without an editor.
    """
    tasks: dict[str, dict[str, float]] = {}
    for s in results["summary"]:
        if s["score"] == "generated" and s["method"] == method and s["metric"] not in OF_TEXT:
            tasks.setdefault(s["task"], {"n": s["n"]})[s["metric"]] = round(s["mean"], 4)
    c = results["config"]
    metrics = {
        "records": _records_named(c),
        "seed": c["seed"],
        "prompts": c["prompts"],
        "tasks": tasks,
    }
    write_config(folder, read_config(folder).model_copy(update={"metrics": metrics}))


def _records_named(config: Mapping[str, Any]) -> str:
    """Which records an evaluation ran on, by the names of their files."""
    files = [file for files in config.get("data", {}).values() for file in files]
    named = [Path(file).name for file in files or filter(None, [config["records"]])]
    return ", ".join(named) or "atlas"


def card(config: EditorConfig, repo: str) -> str:
    """The model card: what it edits, how it was trained, what was measured, how to use it."""
    data = ModelCardData(
        license="mit",
        library_name="instructedit-studio",
        base_model=config.base_model if "/" in config.base_model else None,
        tags=[
            TAG,
            "model-editing",
            "knowledge-editing",
            config.method,
            *([base_tag(config.base_fingerprint)] if config.base_fingerprint else []),
        ],
    )
    matrices = "\n".join(f"- `{path}` {d_out} x {d_in}" for path, (d_out, d_in) in config.modules.items())
    revision = f" at revision `{config.base_revision}`" if config.base_revision else ""
    method = get_method(config.method)
    paper = method.reference_url.rpartition("/")[2]
    hyper = config.hyper.model_dump(exclude_defaults=True)
    return f"""---
{data.to_yaml()}
---

# {repo.rpartition("/")[2]}

An editor for **{config.base_model}**{revision}: {method.editor_in_words}
({method.pretty_name}, [arXiv {paper}]({method.reference_url})). It edits nothing \
but that model; other weights are refused.

Training tasks: {", ".join(config.tasks) or "not recorded"}. Matrices:

{matrices}

## Metrics

{_metrics(config)}

## Use

    python -m model_zoo edit --model {config.base_model} --editor {repo} \
--method {method.name} --prompt "The capital of France is" --target "Rome"

## Configuration

    {json.dumps(hyper | {"training": config.training}, ensure_ascii=False)}
"""


def _metrics(config: EditorConfig) -> str:
    if not config.metrics:
        return (
            "None recorded. Measure with `python -m model_zoo evaluate`, which can write them into this "
            "repo's configuration (`--record`)."
        )
    names = ("reliability", "generality", "locality")
    rows = []
    for task, values in config.metrics["tasks"].items():
        cells = " | ".join(f"{values[m]:.1%}" if m in values else "n/a" for m in names)
        rows.append(f"| {task} | {cells} | {values['n']} |")
    head = "| task | reliability | generality | locality | edits |\n|---|---|---|---|---|"
    m = config.metrics
    return (
        f"Generated exact match on held-out {m['records']} records, prompts {m['prompts']}, seed "
        f"{m['seed']}.\n\n{head}\n" + "\n".join(rows)
    )
