"""`languages`: edits in one language, asked in another."""

import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Dtype, Editor, Model, method_names, run_of


def languages(
    data: Annotated[Path, typer.Option(help="A file whose rows are by language: {en: {...}, zh: {...}}.")],
    methods: Annotated[str, typer.Option(help="Their names, separated by commas.")],
    model: Model = "gemma3-270m",
    n: Annotated[int, typer.Option("--n", min=1, help="So many of its rows, drawn by the seed.")] = 20,
    chat: Annotated[bool, typer.Option(help="Put questions to a chat model in its template.")] = True,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the rows into this table.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the rows.")] = 0,
    editor: Editor = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Edit every row in each of its languages and ask in all of them: reliability, generality, locality and
    portability for every pair.
    """
    from ..benchmarks.languages import in_languages
    from ..evaluation.languages import Crossed, crossing, fitting
    from ..experiments.render import as_csv
    from ..loading import LoadOptions
    from ..methods import METHODS
    from ..records import Record
    from ..request import EditRequest
    from .opening import opened

    names = method_names(methods)
    rows = in_languages(data)
    rows = random.Random(seed).sample(rows, min(n, len(rows)))
    studio = opened(model, LoadOptions(device, dtype), editor)

    def request(record: Record) -> EditRequest:
        own, subject = record.request, record.subject
        named = subject if subject in own.prompt else None
        return studio.request(own.task, own.prompt, own.target, subject=named, chat=chat)

    run = run_of(studio.backbone, model=model, data=data.name, seed=seed)
    table = []
    for name in names:
        found: list[Crossed] = []
        fit, reason = fitting(METHODS[name], rows, request)
        if not fit:
            raise ValueError(reason)
        if reason:
            print(f"{name}: {len(rows) - len(fit)} of {len(rows)} rows left out. {reason}", file=sys.stderr)
        method = studio.method(name)
        made = crossing(
            studio.backbone, method, fit, request, lambda prompt: studio.backbone.asked(prompt, chat)
        )
        for done, so_far in made:
            print(f"{name}: {done} of {len(fit)} rows", file=sys.stderr, flush=True)
            found = so_far
        told = run | {"method": name, "editor": method.training_in_words}
        table += [told | asdict(row) for row in found]
        for row in found:
            pair, interval = f"{row.edited} -> {row.asked}", f"[{row.low:.0%}, {row.high:.0%}]"
            print(f"{name:<13}{pair:<10}{row.metric:<13}{row.mean:6.1%}  {interval}  n {row.n}")
    if out:
        out.write_text(as_csv(table), encoding="utf-8")
