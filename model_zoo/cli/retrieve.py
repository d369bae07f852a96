"""`retrieve`: which stored edit a prompt finds."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Dtype, Editor, Model, method_names, run_of


def retrieve(
    data: Annotated[list[str], typer.Option(help="TASK=FILE[,FILE]: records to store; may be repeated.")],
    methods: Annotated[str, typer.Option(help="Those that keep edits as text, separated by commas.")],
    model: Model = "smollm2",
    n: Annotated[int, typer.Option("--n", min=1, help="So many of each task, drawn by the seed.")] = 1000,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the rows into this table.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the records.")] = 0,
    editor: Editor = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Store all edits at once, then look up each one's own prompt, another wording and a neighbour."""
    from ..evaluation.planning import Plan, plan_cases
    from ..evaluation.retrieval import Retrieved, retrieving
    from ..experiments.render import as_csv
    from ..loading import LoadOptions
    from ..sources import files_by_task
    from .opening import opened

    names, files = method_names(methods), files_by_task(data)
    studio = opened(model, LoadOptions(device, dtype), editor)
    plan = Plan(model, tuple(names), tuple(files), n, seed, data=files)
    planned = plan_cases(plan, studio.backbone, studio.source).cases
    cases = [case for of_task in planned.values() for case in of_task]
    run = run_of(studio.backbone, model=model, data=" ".join(files), seed=seed)
    table = []
    for name in names:
        found: list[Retrieved] = []
        for done, so_far in retrieving(studio.backbone, studio.method(name), cases):
            print(f"{name}: {done} of {len(cases)} edits", file=sys.stderr, flush=True)
            found = so_far
        table += [run | {"method": name, "stored": len(cases)} | asdict(row) for row in found]
        for row in found:
            interval = f"[{row.low:.1%}, {row.high:.1%}]"
            print(f"{name:<13}{row.asked:<17}{row.found:<7}{row.mean:7.1%}  {interval}  n {row.n}")
    if out:
        out.write_text(as_csv(table), encoding="utf-8")
