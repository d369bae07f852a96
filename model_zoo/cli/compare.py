"""`compare`: several methods on the same edit."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Quantize, Set, by_method, emit


def compare(
    prompt: Annotated[str | None, typer.Option(help="The text that the edit continues.")] = None,
    target: Annotated[str | None, typer.Option(help="What the model should say instead.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Their names, separated by commas; default: all that can run.")
    ] = None,
    list_methods: Annotated[
        bool, typer.Option("--list-methods", help="Print the methods' names, one a line.")
    ] = False,
    model: Model = "atlas",
    task: Annotated[str, typer.Option(help="counterfact, recent, convsent or zsre.")] = "counterfact",
    instruction: Annotated[str | None, typer.Option(help="For the methods that read one.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the prompt is about; default: found.")] = None,
    chat: Annotated[bool, typer.Option(help="Put questions to a chat model in its template.")] = True,
    set_values: Set = None,
    editor: Editor = None,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the table into this file too.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = "",
    as_json: AsJson = False,
) -> None:
    """Make the same edit by several methods, each on the base model, and say what each makes of it."""
    from ..comparing import COLUMNS, Compared, comparing, table_row
    from ..loading import LoadOptions
    from ..methods import METHODS, assignments, get_method, hyperparameters
    from ..studio import Studio

    if list_methods:
        print("\n".join(METHODS))
        return
    if prompt is None or target is None:
        raise ValueError(
            "Give the edit to compare as --prompt and --target; --list-methods names the methods."
        )
    chosen = [name.strip() for name in methods.split(",")] if methods else list(METHODS)
    for name in chosen:
        get_method(name)
    values = by_method(assignments(set_values or ()), chosen)
    hyper = {name: hyperparameters(name, own) for name, own in values.items()}
    studio = Studio.open(model, LoadOptions(device, dtype, quantize), editor)
    request = studio.request(task, prompt, target, instruction, None, subject, chat)
    found: list[Compared] = []
    for row in comparing(studio, request, chosen, hyper):
        found.append(row)
        if not as_json:
            _tell(row, len(found) == 1)
    if as_json:
        emit([row.to_dict() for row in found])
    if out:
        _write([COLUMNS, *map(table_row, found)], out)


def _tell(row, first: bool) -> None:
    if first and not row.problem:
        print(f"{'before':<13}{row.before}")
    if row.problem:
        print(f"{row.method:<13}cannot: {row.problem}")
        return
    sign = "holds" if row.held else "does not hold"
    follow, stay = (f"{part} of {whole}" for part, whole in (row.follows, row.stays))
    moved = f"neutral text {row.drift:.3f} nats a token away"
    print(
        f"{row.method:<13}{row.after}\n{'':<13}{sign}; target {row.probability:.1%} likely; other wordings "
        f"{follow}; around it {stay} stay; {moved}; {row.seconds:.1f} s"
    )
    sys.stdout.flush()


def _write(rows: Sequence[Sequence], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
