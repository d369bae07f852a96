"""`inspect`: what an edit changes beside itself."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Quantize, Set, Text, emit


def inspect(
    prompt: Annotated[str, typer.Option(help="The text that the edit continues.")],
    target: Annotated[str, typer.Option(help="What the model should say instead.")],
    model: Model = "atlas",
    task: Annotated[str, typer.Option(help="counterfact, recent, convsent or zsre.")] = "counterfact",
    instruction: Annotated[str | None, typer.Option(help="Default: the task's first wording.")] = None,
    method: Annotated[
        str | None, typer.Option(help="One of compare --list-methods; default: the best that can run.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Scale of the edit; 0 is the base model.")] = 1.0,
    subject: Annotated[str | None, typer.Option(help="What the prompt is about; default: found.")] = None,
    chat: Annotated[bool, typer.Option(help="Put questions to a chat model in its template.")] = True,
    session: Annotated[Path | None, typer.Option(help="A saved session that the edit is added to.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write everything into this one HTML file too.")] = None,
    set_values: Set = None,
    editor: Editor = None,
    text: Text = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantize = "",
    as_json: AsJson = False,
) -> None:
    """Make one edit and look at everything else: known facts, running text, what follows from it, the edit
    undone by another, other strengths, every block, and where the base model's answer comes from.
    """
    from ..evaluation.run import versions
    from ..inspecting import Inspector
    from ..inspecting.report import as_dict, whole, write_html
    from ..loading import LoadOptions
    from ..methods import assignments, hyperparameters
    from ..session import EditSession
    from ..session_files import load_session
    from .findings import tell
    from .opening import opened

    studio = opened(model, LoadOptions(device, dtype, quantize), editor, text)
    before = load_session(session, studio) if session else EditSession()
    method = method or studio.default_method()
    request = studio.request(task, prompt, target, instruction, None, subject, chat)
    hyper = hyperparameters(method, assignments(set_values or ()))
    report, after = studio.edit(request, method, strength, before, hyper=hyper)
    findings = []
    for finding in whole(Inspector(studio).inspect(after.edits[-1], after)):
        findings.append(finding)
        if not as_json:
            tell(finding)
    if as_json:
        emit(as_dict(report, findings, versions(studio.backbone)))
    if html:
        command = shlex.join(["python", "-m", "model_zoo", *sys.argv[1:]])
        write_html(report, findings, versions(studio.backbone), command, html)
        if not as_json:
            print(f"Written to   {html}")
