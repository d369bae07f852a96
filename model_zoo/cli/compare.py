"""`compare`: several methods on the same edit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Quantize, Set, Text, by_method, emit, method_names


def compare(
    prompt: Annotated[str | None, typer.Option(help="The text that the edit continues.")] = None,
    target: Annotated[str | None, typer.Option(help="What the model should say instead.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Their names, separated by commas; default: all.")
    ] = None,
    list_methods: Annotated[
        bool, typer.Option("--list-methods", help="Print the methods' names, one a line.")
    ] = False,
    model: Model = "atlas",
    task: Annotated[str, typer.Option(help="counterfact, recent, convsent or zsre.")] = "counterfact",
    instruction: Annotated[str | None, typer.Option(help="For the methods that read one.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the prompt is about; default: found.")] = None,
    chat: Annotated[bool, typer.Option(help="Put questions to a chat model in its template.")] = True,
    session: Annotated[
        Path | None,
        typer.Option(help="A saved session: every method makes its edits and this one in one model."),
    ] = None,
    set_values: Set = None,
    editor: Editor = None,
    text: Text = None,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the table into this file too.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = "",
    as_json: AsJson = False,
) -> None:
    """Make the same edit by several methods, each on the base model, and say what each makes of it."""
    from ..comparing import Compared, comparing, requests_of, write_table
    from ..loading import LoadOptions
    from ..methods import METHODS, assignments, hyperparameters
    from ..session_files import load_session
    from .opening import opened

    if list_methods:
        print("\n".join(METHODS))
        return
    if prompt is None or target is None:
        raise ValueError(
            "Give the edit to compare as --prompt and --target; --list-methods names the methods."
        )
    chosen = method_names(methods) if methods else list(METHODS)
    values = by_method(assignments(set_values or ()), chosen)
    hyper = {name: hyperparameters(name, own) for name, own in values.items()}
    studio = opened(model, LoadOptions(device, dtype, quantize), editor, text)
    request = studio.request(task, prompt, target, instruction, None, subject, chat)
    others = requests_of(load_session(session, studio)) if session else []
    found: list[Compared] = []
    for row in comparing(studio, request, chosen, hyper, others):
        if not as_json:
            if not row.problem and all(other.problem for other in found):
                print(f"{'before':<13}{row.before}")
            _tell(row)
        found.append(row)
    if as_json:
        emit([row.to_dict() for row in found])
    if out:
        write_table(found, out)


def _tell(row: Any) -> None:
    """One method's row in words."""
    if row.problem:
        print(f"{row.method:<13}cannot: {row.problem}", flush=True)
        return
    from ..comparing import share

    sign = "holds" if row.held else "does not hold"
    follow, stay = (share(*counts) or "none asked" for counts in (row.follows, row.stays))
    moved = f"neutral text {row.drift:.3f} nats a token away"
    listed = f"of the list {share(*row.listed)} hold; " if row.listed[1] else ""
    print(
        f"{row.method:<13}{row.after}\n{'':<13}{sign}; target {row.probability:.1%} likely; other wordings "
        f"{follow}; around it {stay} stay; {moved}; {listed}{row.seconds:.1f} s",
        flush=True,
    )
