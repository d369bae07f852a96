"""JSON files of experiments -> a document. Nothing in it is typed by hand but what stands here."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import EXPERIMENTS, Experiment

_HEAD = """# Results: {model}

One question after another: what was found, a small table, a figure; behind the links every row, with
intervals. Nothing here is typed by hand but questions and remarks. Made by
`python -m model_zoo experiment report --results {results} --out {out}`.
Unless said otherwise: generated exact match, of convsent whether the wanted mood is voiced, prompts plain as
people type them after an edit, held-out subjects and wordings, means over the three trained tasks; zsre is
held out, no editor was trained on it.
{about}
"""
_WORLD = """\
The figures are of the embedded 5-million-parameter world, and what holds there need not hold for larger
ones."""
_RECORDS = """\
The figures are of a pretrained model; its editors were trained on the records of the files that each command
names, and those that are compared for equally many steps."""


def read(folder: Path) -> dict[str, dict]:
    """{experiment: its JSON} of those that have been run."""
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in EXPERIMENTS
        if (folder / f"{name}.json").exists()
    }


def document(found: Mapping[str, dict], results: str, out: str) -> str:
    """The document at `out` about what was found in the folder `results`, both as the command names them."""
    config = next(iter(found.values()))["config"]
    about = _RECORDS if config.get("files") else _WORLD
    parts = [_HEAD.format(model=config["model"], results=results, out=out, about=about)]
    folder = Path(os.path.relpath(results, Path(out).parent)).as_posix()
    parts += [_section(EXPERIMENTS[name], data, folder) for name, data in found.items()]
    if missing := [name for name in EXPERIMENTS if name not in found]:
        parts.append(f"## Not run yet\n\n{', '.join(missing)}: `{_command('NAME', config)}`.\n")
    return "\n".join(parts)


def _section(experiment: Experiment, data: dict, folder: str) -> str:
    c = data["config"]
    v = c["versions"]
    machine = (
        f"torch {v['torch']}, transformers {v['transformers']}, {v['machine']}, {v['threads']} threads, "
        f"{v['device']}"
    )
    own = (
        ", with the editor that ships"
        if experiment.uses_finished and c["shipped"]
        else f", editors trained for {c['steps']} steps"
    )
    name, note = experiment.name, f" {data['note']}" if data.get("note") else ""
    return (
        f"## {experiment.title}\n\n{experiment.question} {experiment.finding(data['rows'])}{note}\n\n"
        f"{experiment.view.table(data['rows'])}\n\n![{experiment.title}]({folder}/{name}.svg)\n"
        f"[All rows]({folder}/{name}.csv) · `{_command(name, c)}` ({machine}{own})\n"
    )


def _command(name: str, config: Mapping[str, Any]) -> str:
    """What runs an experiment as it was run; files by their names."""
    given = [
        *((option, text) for option, all_given in config.get("files", {}).items() for text in all_given),
        *(("set", f"{key}={value}") for key, value in config.get("settings", {}).items()),
        *(
            (key, config[key])
            for key in ("model", "recipe", "n", "seed", "steps", "trainings")
            if key in config
        ),
    ]
    options = " ".join(f"--{option} {shlex.quote(str(value))}" for option, value in given)
    return f"python -m model_zoo experiment run {name} {options}"
