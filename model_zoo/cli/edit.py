"""`edit`: one edit from the command line."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Quantize, Set, emit


def edit(
    prompt: Annotated[str, typer.Option(help="The text that the edit continues.")],
    target: Annotated[str, typer.Option(help="What the model should say instead.")],
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
        str | None, typer.Option(help="instructedit, mend or ft-l; default: the best that can run.")
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
    """Make one edit and show what it changed and what it left alone."""
    from .. import export as exporting
    from ..loading import LoadOptions
    from ..methods import assignments, hyperparameters
    from ..studio import Studio

    exporting.get_format(format)
    studio = Studio.open(model, LoadOptions(device, dtype, quantize), editor)
    request = studio.request(task, prompt, target, instruction, scope, subject, chat)
    method = method or studio.default_method()
    hyper = hyperparameters(method, assignments(set_values or ()))
    report, session = studio.edit(request, method, strength, ask=ask or (), prefixed=prefixed, hyper=hyper)
    if export:
        exporting.export(studio.backbone, session, studio.patch(session), format, export)
    if as_json:
        emit(report.to_dict())
        return
    print(f"Prompt       {report.prompt}\nBefore       {report.before}\nAfter        {report.after}")
    if report.degenerate:
        print("Note         the text after the edit repeats itself; try a lower --strength")
    if report.subject:
        print(f"Subject      {report.subject}")
    chance = report.target_probability
    print(
        f"P(target)    {chance['before']:.1%} -> {chance['after']:.1%}    edit made in "
        f"{report.edit_seconds * 1000:.0f} ms"
    )
    for title, checks in (("Holds", report.generality), ("Local", report.locality)):
        judged = [check for check in checks if check.held is not None]
        print(f"{title:<12} {sum(bool(c.held) for c in judged)} of {len(judged)}")
        for check in checks:
            sign = {True: "yes", False: "NO", None: "~"}[check.held]
            drift = "" if check.drift is None else f"  ({check.drift:.2f} nats a token away)"
            print(f"  {sign:<4}{check.prompt}  |  {check.before}  ->  {check.after}{drift}")
    for asked in report.ask:
        print(f"Ask          {asked['prompt']}  |  {asked['before']}  ->  {asked['after']}")
    if export:
        print(f"Written to   {export} ({format}); its README.md says how to use it")
