"""docs/METHODS.md: what each method is, by its own declarations, and what was measured of it on SmolLM2."""

import inspect
import re
import sys
from collections.abc import Mapping

from ..methods import METHODS, EditMethod
from .render import METRICS
from .tables import Rows, in_order, methods_of, percent, titled
from .together_section import section

# the tables of `compare` and of `retrieve`; every other file is a table of `evaluate`
ONE_EDIT, FOUND = "one_edit.csv", "retrieval.csv"
FOLDER = "results/smollm2"  # from docs/
RELIABLE = 0.8  # of the targets a method should say

_HEAD = """# Methods

Every editing method that the page, the command line and the API offer, what it changes, and what it does to a
real model. Written by `python -m model_zoo methods > docs/METHODS.md` from the methods' declarations and the
tables in `docs/results/smollm2/`; no figure here is typed by hand.

## What each is

Needs: an **editor** trained for the base model (`python -m model_zoo train`, or `import` for EasyEdit's), a
**subject** that the prompt names, **statistics** of the base model's keys, taken once and kept.

| method | name | changes | needs | what it is |
|---|---|---|---|---|
"""

_CHOICE = """## What to choose when

- **Other wordings are to follow**: an editor that was trained for the model, InstructEdit where the kind of
  change is to be said in words, else MEND or KE; they edit in a fraction of a second, and move more of the
  neighbours than the next ones.
- **Neighbours are to stay, and the prompt names its subject**: ROME, EMMET, MEMIT or AlphaEdit; they need no
  editor, and fewer other wordings follow.
- **Nothing else may move at all**: GRACE or WISE, whose memories answer on the edit's own prompt and hardly
  anywhere else.
- **The weights must stay as they are**: SERAC and LTE store edits as text, find the one that a prompt is
  about, and need an adapter trained once for the model, half an hour on one core for SmolLM2. They miss least
  of all methods here: other wordings follow, and neighbours, which name other subjects, are told apart by
  their text. IKE needs nothing and reaches every prompt.
- **Fine-tuning (FT, FT-L, LoRA, CaliNet) and UltraEdit** are what everything else should beat: they need
  nothing but the edit, say the target, and take neighbours along.
"""


def document(tables: Mapping[str, Rows]) -> str:
    """METHODS.md."""
    declared = "\n".join(map(_declared, METHODS.values()))
    rows = measured(tables)
    parts = [_HEAD + declared, _CHOICE]
    if any(row["together"] == "1" for row in rows):
        alone = [row for row in rows if row["together"] == "1"]
        parts += [_figures(rows), *filter(None, [_misses(alone)])]
    if any(row["together"] != "1" for row in rows):
        parts.append(section(rows, FOLDER))
    if found := tables.get(FOUND):
        parts.append(_found(found))
    if one := tables.get(ONE_EDIT):
        parts.append(_one_edit(one))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def measured(tables: Mapping[str, Rows]) -> Rows:
    """What `evaluate` measured, of all tables."""
    return [row for name, rows in tables.items() if name not in (ONE_EDIT, FOUND) for row in rows]


def _declared(method: type[EditMethod]) -> str:
    """A method's line in the first table."""
    needs = {
        "an editor": method.needs_editor,
        "a subject": method.needs_subject,
        "statistics": method.needs_statistics,
    }
    needed = ", ".join(name for name, is_needed in needs.items() if is_needed) or "nothing"
    described = (inspect.getdoc(sys.modules[method.__module__]) or "").split("\n\n")[0]
    head, _, rest = " ".join(described.split()).partition(": ")
    told = re.sub(r" \([^()]*(arXiv|\.py)[^()]*\)", "", rest or head).rstrip(".")  # the title links there
    title = f"[{method.pretty_name}]({method.reference_url})"
    return f"| {title} | `{method.name}` | {method.kind.title} | {needed} | {told} |"


def _figures(rows: Rows) -> str:
    """Every method's figures for edits that are each alone in the model, task by task."""
    parts = ["## One edit at a time"]
    alone = [row for row in rows if row["together"] == "1"]
    for task in dict.fromkeys(row["task"] for row in alone):
        own = [row for row in alone if row["task"] == task]
        first = own[0]
        command = (
            f"python -m model_zoo evaluate --model {first['model']} --methods NAME --data {task}=FILE "
            f"--n {first['n']} --known 1 --csv NAME.csv"
        )
        parts.append(
            f"{first['model']}, unseen edits of {task}, prompts {first['prompts']}, seed {first['seed']}, "
            f"torch {first['torch']}, transformers {first['transformers']}, {first['device']}: `{command}`. "
            "Generated: the text that is said (`evaluate --explain generated`); forced: the literature's "
            "token accuracy; known: prompts around the edit whose answer the model knew, a listed fact among "
            "them. In brackets bootstrap 95% intervals over subjects."
        )
        head = ["method", "edits", *METRICS, "known stays", "forced reliability", "repeats itself"]
        lines, editors = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], list[str]()
        for name in methods_of(own):
            cells = {(r["metric"], r["score"]): r for r in own if r["method"] == name}
            wanted = [(metric, "generated") for metric in METRICS]
            wanted += [("locality_known", "generated")]
            wanted += [("reliability", "teacher_forced"), ("degenerate", "generated")]
            said = cells[wanted[0]]
            shown = [percent(cells.get(key)) for key in wanted]
            lines.append(f"| {' | '.join([titled(name), said['n'], *shown])} |")
            if said.get("editor"):
                editors.append(f"- {titled(name)}: {said['editor']}.")
        parts.append("\n".join(lines))
        if editors:
            parts.append(
                f"Editors, where a method needs one; `train --model {first['model']} --method NAME --data "
                "TASK=FILE`, hypernetworks with `--recipe real`, trains one:\n\n" + "\n".join(editors)
            )
    return "\n\n".join(parts)


def _misses(rows: Rows) -> str:
    """Methods that say too few of their targets, each with how its editor was trained, or with what its
    hyperparameters' docstring tells.
    """
    few: dict[str, dict[str, Mapping[str, str]]] = {}  # by method and task
    for row in rows:
        said = (row["metric"], row["score"]) == ("reliability", "generated")
        if said and float(row["mean"]) < RELIABLE:
            few.setdefault(row["method"], {})[row["task"]] = row
    lines = []
    for name in in_order(few.keys() & METHODS.keys()):
        tried = " ".join((inspect.getdoc(METHODS[name].Hyperparameters) or "").split())
        if editor := next(iter(few[name].values())).get("editor"):
            tried = f"Its editor was {editor}."
        shares = ", ".join(f"{float(row['mean']):.0%} of {task}'s" for task, row in few[name].items())
        lines.append(f"- **{titled(name)}** says {shares} targets. {tried}")
    return f"Below {RELIABLE:.0%} reliability, and what was tried:\n\n" + "\n".join(lines) if lines else ""


def _found(rows: Rows) -> str:
    """What stored edits are found by which prompts."""
    first = rows[0]
    columns = [("own prompt", "first"), ("another wording", "first"), ("another wording", "among")]
    columns.append(("neighbour", "none"))
    head = ["method", "stored", "own prompt", "another wording", "among those told", "neighbour finds none"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in methods_of(rows):
        own = [row for row in rows if row["method"] == name]
        cells = {(row["asked"], row["found"]): row for row in own}
        shown = [percent(cells.get(column)) for column in columns]
        lines.append(f"| {' | '.join([titled(name), own[0]['stored'], *shown])} |")
    return (
        "## Finding one edit among many\n\nMethods that keep edits as text look up those that a prompt is "
        "about. So many were stored at once; how often the nearest is the edit's own, by its own prompt and "
        "by another wording, how often it is among those told, and how often a neighbour finds none. "
        f"{first['model']}, {first['data']}, seed {first['seed']}: `python -m model_zoo retrieve "
        f"--methods NAME --data {first['data']}=FILE --n STORED`.\n\n" + "\n".join(lines)
    )


def _one_edit(rows: Rows) -> str:
    """The same edit by every method, as `compare --csv` wrote it."""
    head = list(rows[0])
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(row[key].replace('|', chr(92) + '|') for key in head)} |" for row in rows]
    return "## The same edit by every method\n\n" + "\n".join(lines)
