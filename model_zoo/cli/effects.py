"""`side-effects` and `trace`: what edits change beside themselves, over many edits and facts."""

import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Dtype, Editor, Model, emit, method_names, run_of


def side_effects(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Their names, separated by commas; without, the page of what was measured is printed."
        ),
    ] = None,
    model: Model = "smollm2",
    n: Annotated[int, typer.Option("--n", min=0, help="Single edits, each alone on the base model.")] = 10,
    stacks: Annotated[str, typer.Option(help="Sizes of stacks of edits in one model, by commas.")] = "10",
    general: Annotated[
        Path | None,
        typer.Option(help="Folder of boolq.jsonl, rte.jsonl, sst2.jsonl, nq_open.jsonl or gsm8k.jsonl."),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="So many questions of each of its files.")] = 50,
    out: Annotated[Path | None, typer.Option("--csv", help="Write the rows into this table.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the tables that the page is made of.")] = Path(
        "docs/results/side_effects"
    ),
    seed: Annotated[int, typer.Option(help="Draws the edits.")] = 0,
    editor: Editor = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Edit listed facts by each method, alone and together, and measure what else that changes: facts around
    them, running text, the way back, general ability.
    """
    from ..evaluation.ability import read_folder
    from ..experiments.effects_page import document
    from ..experiments.render import as_csv
    from ..experiments.tables import read
    from ..inspecting import Inspector
    from ..inspecting.study import BASE, MOST, Measured, drawn, requests, single_edits, stack
    from ..loading import LoadOptions
    from .opening import opened

    if methods is None:
        print(document(read(results)), end="")
        return
    names, sizes = method_names(methods), _sizes(stacks)
    asked = read_folder(general, questions) if general else {}
    studio = opened(model, LoadOptions(device, dtype), editor)
    wanted, inspector = requests(studio, drawn(studio, max([n, *sizes]), seed)), Inspector(studio, MOST)
    rows: list[Measured] = []
    if asked:
        rows += stack(inspector, BASE, [], asked)
    for name in names:
        singly: list[Measured] = []
        for done, so_far in single_edits(inspector, name, wanted[:n]):
            print(f"{name}: {done} of {n} edits", file=sys.stderr, flush=True)
            singly = so_far
        rows += singly
        for size in sizes:
            rows += stack(inspector, name, wanted[:size], asked)
    if out:
        out.write_text(
            as_csv([run_of(studio.backbone, model=model, seed=seed) | asdict(row) for row in rows]),
            encoding="utf-8",
        )
    for row in rows:
        print(
            f"{row.method:<13}{row.edits:>5} edits  {row.measure:<18}{row.mean:8.3f}  "
            f"[{row.low:.3f}, {row.high:.3f}]  n {row.n}"
        )


def _sizes(text: str) -> list[int]:
    """Sizes of stacks. ValueError for what is no number of edits."""
    sizes = [size.strip() for size in text.split(",") if size.strip()]
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise ValueError(f"--stacks is numbers of edits, separated by commas, and not '{text}'.")
    return [int(size) for size in sizes]


def trace(
    model: Model = "smollm2",
    n: Annotated[int, typer.Option("--n", min=1, help="Listed facts.")] = 50,
    out: Annotated[
        Path | None, typer.Option("--csv", help="Write the averages into this table, and a figure beside it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the facts.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Causal tracing of facts that the base model knows, averaged: which states its answers come from."""
    from ..experiments.effects_page import tracing_figure
    from ..experiments.render import as_csv
    from ..inspecting import Inspector
    from ..inspecting.study import averaged, drawn
    from ..loading import LoadOptions
    from .opening import opened

    studio = opened(model, LoadOptions(device, dtype))
    inspector, traces = Inspector(studio), []
    for i, record in enumerate(drawn(studio, n, seed), 1):
        prompt = record.request.prompt
        found = inspector.trace(prompt, studio.subject_of(prompt, record), record.truth)
        traces.append(found)
        print(f"{i} of {n}: {prompt} {found.problem}", file=sys.stderr, flush=True)
    rows = averaged([found for found in traces if not found.problem])
    if out:
        table = as_csv([run_of(studio.backbone, model=model, seed=seed) | row for row in rows])
        out.write_text(table, encoding="utf-8")
        told = list(csv.DictReader(table.splitlines()))
        out.with_suffix(".svg").write_text(tracing_figure(told), encoding="utf-8")
    else:
        emit(rows)
