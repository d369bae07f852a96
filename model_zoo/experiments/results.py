"""JSON files of experiments -> RESULTS.md, and a figure for each. Nothing in that document is typed by hand
but what stands here.
"""

import json
from pathlib import Path

from . import EXPERIMENTS, Experiment

_HEAD = """# Results

One question after another: what was found, a small table, a figure; behind the links every row, with
intervals. Made by `python -m model_zoo experiment report` from `docs/results/`; nothing here is typed by hand
but the questions. The figures are of the embedded 5-million-parameter world, and what holds there need not
hold for larger ones. Unless said otherwise: generated exact match, prompts plain as people type them after an
edit, held-out subjects and wordings, means over the three trained tasks; zsre is held out, no editor was
trained on it.
"""


def read(folder: Path) -> dict[str, dict]:
    """{experiment: its JSON} of those that have been run."""
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in EXPERIMENTS
        if (folder / f"{name}.json").exists()
    }


def document(found: dict[str, dict], folder: str = "results") -> str:
    """RESULTS.md."""
    parts = [_HEAD]
    for name, data in found.items():
        parts.append(_section(EXPERIMENTS[name], data, folder))
    if missing := [name for name in EXPERIMENTS if name not in found]:
        parts.append(f"## Not run yet\n\n{', '.join(missing)}: `python -m model_zoo experiment run NAME`.\n")
    return "\n".join(parts)


def _section(experiment: Experiment, data: dict, folder: str) -> str:
    c = data["config"]
    made = (
        f"python -m model_zoo experiment run {experiment.name} --n {c['n']} --seed {c['seed']} "
        f"--steps {c['steps']} --trainings {c['trainings']}"
    )
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
        f"[All rows]({folder}/{name}.csv) · `{made}` ({machine}{own})\n"
    )
