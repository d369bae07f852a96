"""`edit`: one edit from the command line."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Quantize, Set, Text, emit


def edit(
    prompt: Annotated[str | None, typer.Option(help="The text that the edit continues.")] = None,
    target: Annotated[str | None, typer.Option(help="What the model should say instead.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="A file of edits instead (docs/RECORDS.md): all of them in one model.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the file's first ones.")] = None,
    conflicts: Annotated[
        str, typer.Option(help="Where two edits of the file contradict each other: last, first, ask or stop.")
    ] = "stop",
    one_after_another: Annotated[
        bool,
        typer.Option(
            "--one-after-another/--jointly",
            help="Make each edit of the file on the model as those before it left it, or all on the base "
            "model and combine them.",
        ),
    ] = False,
    probes: Annotated[
        int | None,
        typer.Option(
            min=0, help="Judge each edit of the file by at most so many of its prompts of a kind; default: 2."
        ),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(
            help="Folder (or .zip) of a session to go on from, if it is there, and to save to; a file of "
            "edits that was cut short goes on where it was."
        ),
    ] = None,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A session, delta.safetensors or exported adapter whose edits these are made on top of.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where the edit, or one of them, does not hold.")
    ] = False,
    model: Model = "atlas",
    task: Annotated[str, typer.Option(help="counterfact, recent, convsent or zsre.")] = "counterfact",
    scope: Annotated[
        str | None,
        typer.Option(
            help="How far it reaches, in place of a task: statement, subject, category, tone, locked."
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(help="What the edit should do; default: the task's or the scope's first wording."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="One of compare --list-methods; default: the best that can run."),
    ] = None,
    strength: Annotated[float, typer.Option(help="Scale of the edit; 0 is the base model.")] = 1.0,
    ask: Annotated[
        list[str] | None, typer.Option(help="A prompt to put to both models; may be repeated.")
    ] = None,
    prefixed: Annotated[
        bool, typer.Option("--prefixed", help="Ask with the instruction prefix too.")
    ] = False,
    chat: Annotated[
        bool, typer.Option(help="Put questions to a chat model in its chat template, as people do.")
    ] = True,
    subject: Annotated[
        str | None, typer.Option(help="The words of the prompt that name what it is about; default: found.")
    ] = None,
    set_values: Set = None,
    editor: Editor = None,
    text: Text = None,
    export: Annotated[Path | None, typer.Option(help="Folder to take the edit home in.")] = None,
    format: Annotated[
        str,
        typer.Option(help="What --export writes: delta, lora (a PEFT adapter) or merged (the whole model)."),
    ] = "delta",
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = "",
    as_json: AsJson = False,
) -> None:
    """Make one edit, or a file of them, and show what that changed and what it left alone."""
    from .. import export as exporting
    from ..benchmarks import read
    from ..loading import LoadOptions
    from ..many import PROBES, Order
    from ..methods import assignments, hyperparameters
    from ..session import EditSession
    from ..session_files import is_session, load_session, save_session
    from .many import Wish, edit_records
    from .opening import opened
    from .telling import tell_edit

    exporting.get_format(format)
    if (records is None) == (prompt is None) or (target is None) != (prompt is None):
        raise ValueError("Give an edit as --prompt and --target, or a file of edits as --records.")
    if conflicts not in ("last", "first", "ask", "stop"):
        raise ValueError(f"--conflicts is last, first, ask or stop, and not '{conflicts}'.")
    of_one_edit = {
        "--instruction": bool(instruction),
        "--scope": bool(scope),
        "--subject": bool(subject),
        "--ask": bool(ask),
        "--prefixed": prefixed,
        "--set": bool(set_values),
        "--strength": strength != 1.0,
    }
    if not records and (one_after_another or n):
        raise ValueError("--n and --one-after-another are for a file of edits; give it as --records.")
    if records and (given := [name for name, is_given in of_one_edit.items() if is_given]):
        raise ValueError(f"{', '.join(given)} cannot go with --records: a file says it row by row, or not.")
    loaded = read(records, task) if records else None
    studio = opened(model, LoadOptions(device, dtype, quantize), editor, text)
    found = session if session and is_session(session) else begin
    before = load_session(found, studio) if found else EditSession()
    method = method or studio.default_method()
    if loaded:
        order: Order = "one-after-another" if one_after_another else "jointly"
        wish = Wish(method, n, conflicts, chat, PROBES if probes is None else probes, order, session)
        result = edit_records(studio, loaded, wish, before, as_json)
        after, held = result.session, result.held == 1.0
    else:
        request = studio.request(task, prompt or "", target or "", instruction, scope, subject, chat)
        hyper = hyperparameters(method, assignments(set_values or ()))
        report, after = studio.edit(
            request, method, strength, before, ask=ask or (), prefixed=prefixed, hyper=hyper
        )
        held = report.held
        if as_json:
            emit(report.to_dict())
        else:
            tell_edit(report)
    if session and not loaded:  # a file's edits are saved as they are made
        save_session(after, studio, session)
    if export:
        exporting.export(studio.backbone, after, studio.patch(after), format, export, with_base=True)
    if not as_json:
        if session:
            print(f"Saved to     {session}; --session goes on from there")
        if export:
            print(f"Written to   {export} ({format}); its README.md says how to use it")
    if check and not held:
        raise typer.Exit(1)
