"""`evaluate` and `directions`: what an editor does, in numbers."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from .options import AsJson, Device, Dtype, Editor, Model, Set, Text, by_method, emit


def evaluate(
    model: Model = "atlas",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Separated by commas: those of compare --list-methods, none (the base model itself)."
        ),
    ] = None,
    editor: Editor = None,
    text: Text = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks.")] = "counterfact,recent,convsent,zsre",
    records: Annotated[
        str | None,
        typer.Option(help="A .json, .jsonl or .csv file, or a KnowEdit name, instead of the atlas' records."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="TASK=FILE[,FILE]: measure on these records instead; may be repeated."),
    ] = None,
    known: Annotated[
        int,
        typer.Option(
            min=0, help="Facts of the list of known ones to ask around every record, beside its own."
        ),
    ] = 0,
    n: Annotated[int, typer.Option("--n", help="Held-out edits per task.")] = 200,
    together: Annotated[
        int, typer.Option(min=1, help="So many edits live in one model at once; 1: each alone.")
    ] = 1,
    after_all: Annotated[
        bool, typer.Option("--after-all", help="All edits of a task live in one model at once.")
    ] = False,
    one_after_another: Annotated[
        bool,
        typer.Option(
            "--one-after-another/--jointly",
            help="Make each of them on the model as those before it left it, or all at once.",
        ),
    ] = False,
    prose: Annotated[
        str | None, typer.Option(help="A text file: how far its perplexity rises under the edits, too.")
    ] = None,
    seed: int = 0,
    prefixed: Annotated[
        bool, typer.Option("--prefixed", help="Keep the instruction prefix on the evaluation prompts.")
    ] = False,
    chat: Annotated[
        bool,
        typer.Option(
            "--chat", help="Put questions to a chat model in its template; the answer may stand anywhere."
        ),
    ] = False,
    recall: Annotated[
        bool, typer.Option("--recall", help="Also ask the base model every fact in every phrasing.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the figures into the editor's config.json, for its model card."),
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    set_values: Set = None,
    out: Annotated[
        Path | None,
        typer.Option("--json", help="Write the results to this file; a run that was killed goes on from it."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Write the means with their intervals into this table.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(help="A metric's or score's name: print what it means, and stop.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a self-contained page with the figures and every case.")
    ] = None,
) -> None:
    """Reliability, generality, locality, portability and fluency, one edit at a time."""
    from tqdm import tqdm

    from .. import editors, evaluation
    from ..evaluation import Results, report
    from ..evaluation.metrics import explained
    from ..loading import LoadOptions
    from ..methods import METHODS, assignments
    from ..processes import together as of_processes
    from ..sources import files_by_task
    from .opening import opened

    if explain:
        print(explained(explain))
        return
    studio = opened(model, LoadOptions(device, dtype), editor, text)
    names = tuple(name.strip() for name in methods.split(",")) if methods else (studio.default_method(),)
    wanted = tuple(name.strip() for name in tasks.split(","))
    if prefixed and chat:
        raise ValueError(
            "Prompts are asked with the instruction or in the chat template; choose one of the two."
        )
    if one_after_another and together == 1 and not after_all:
        raise ValueError(
            "--one-after-another is for edits that live in one model; give --together N or --after-all."
        )
    prompts = "prefixed" if prefixed else "chat" if chat else "plain"
    if records and data:
        raise ValueError("Give the files of records either by --records or, task by task, by --data.")
    hyper = by_method(assignments(set_values or ()), names)
    files = files_by_task(data or ())
    plan = evaluation.Plan(
        model,
        names,
        wanted,
        n,
        seed,
        prompts,
        records,
        hyperparameters=hyper,
        data=files,
        known=known,
        together=evaluation.ALL if after_all else together,
        one_after_another=one_after_another,
        prose=prose,
    )
    if record:
        editors.check_recordable(studio.editors.get(names[0]))
    for path in filter(None, (out, html, table)):
        if not path.parent.is_dir():  # found now, not after the run
            raise ValueError(f"The folder {path.parent} does not exist; make it first.")
    first = of_processes().first
    with tqdm(desc="evaluate", unit="group", mininterval=2, disable=not first) as bar:
        for done, total, results in studio.measure(plan, out):  # noqa: B007 - the last one counts
            bar.total = total
            bar.update(done - bar.n)
    if not first:
        return
    told = cast(Results, results).to_dict()
    _tell(told)
    if recall:
        told["recall"] = _recall(studio)
        if out:
            emit(told, out)
    if record:
        editors.record_metrics(studio.editors[names[0]], told, names[0])
    if table:
        trainings = {name: studio.method(name).training_in_words for name in names if name in METHODS}
        table.write_text(_table(told, trainings), encoding="utf-8")
    if html:
        html.write_text(report.page(told), encoding="utf-8")
    if not out:
        emit(told)


def _table(told: dict, trainings: Mapping[str, str]) -> str:
    """The means as a table that says by itself what was measured, of what and with what. `trainings`: how the
    editor of each method was trained.
    """
    from ..experiments.render import as_csv

    c, v = told["config"], told["versions"]
    of_run = {
        "model": c["model"],
        "together": c["together"],
        "one_after_another": c["one_after_another"],
        "seed": c["seed"],
        "torch": v["torch"],
        "transformers": v["transformers"],
        "device": v["device"],
    }
    rows = [
        of_run | summary | {"editor": trainings.get(summary["method"], "")} for summary in told["summary"]
    ]
    return as_csv(rows)


def _tell(told: dict) -> None:
    """The summary and the first rows that were left out, for people."""
    for s in told["summary"]:
        value = (lambda x: f"{x:.2f}") if s["metric"] == "fluency" else (lambda x: f"{x:.1%}")
        print(
            f"{s['method']:<13}{s['task']:<13}{s['metric']:<16}{s['score']:<15}{value(s['mean']):>7}  "
            f"[{value(s['low'])}, {value(s['high'])}]  n={s['n']}",
            file=sys.stderr,
        )
    for problem in told["skipped"][:10]:
        print(f"skipped      row {problem['row']}, {problem['field']}: {problem['reason']}", file=sys.stderr)
    if told["unread"]:
        print(
            f"not read     {', '.join(f'{k} ({n} rows)' for k, n in told['unread'].items())}", file=sys.stderr
        )
    if len(told["skipped"]) > 10:
        print(f"skipped      {len(told['skipped']) - 10} more, see the JSON", file=sys.stderr)


def _recall(studio) -> dict:
    """What the base model answers rightly of all that its source knows."""
    from tqdm import tqdm

    from .. import evaluation

    source = studio.reference
    asked = source.recall()
    share, misses = evaluation.recall(studio.backbone, asked, lambda r: tqdm(r, desc="recall", mininterval=2))
    print(f"recall of {source.title} {share:.2%}", file=sys.stderr)
    return {"share": share, "prompts": len(asked), "misses": misses[:50]}


def directions(
    model: Model = "atlas",
    per_task: Annotated[int, typer.Option(help="Reference edits per task.")] = 40,
    editor: Editor = None,
    seed: int = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """How well the tasks' editing directions separate: raw gradient and update, with and without instruction."""  # noqa: E501
    from ..directions import DirectionSpace, separation_in_words
    from ..loading import LoadOptions
    from ..studio import Studio

    studio = Studio.open(model, LoadOptions(device, dtype), editor)
    reference = DirectionSpace(
        studio.backbone, studio.method(studio.default_method()), studio.reference, per_task, seed
    )
    results = []
    for view in reference.views:
        for instructed in (False, True):
            m = reference.map(view, instructed)
            results.append(
                {k: v for k, v in asdict(m).items() if k != "points"}
                | {"words": f"Over all directions {separation_in_words(m.silhouette_full)}."}
            )
    if as_json:
        emit({"model": model, "per_task": per_task, "seed": seed, "maps": results})
        return
    for r in results:
        kind = "with instruction" if r["instructed"] else "without instruction"
        print(
            f"{r['view']:<9} {kind:<20} silhouette {r['silhouette_full']:+.2f} (two components "
            f"{r['silhouette_plane']:+.2f}), "
            f"PC 1-3 explain {sum(r['explained']):.0%}. {r['words']}"
        )
