"""`evaluate` and `directions`: what an editor does, in numbers."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, Dtype, Editor, Model, emit


def evaluate(
    model: Model = "atlas",
    method: Annotated[str | None, typer.Option(help="instructedit or ft-l.")] = None,
    editor: Editor = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks.")] = "counterfact,recent,convsent,zsre",
    n: Annotated[int, typer.Option("--n", help="Held-out edits per task.")] = 200,
    seed: int = 0,
    prefixed: Annotated[bool, typer.Option("--prefixed", help="Keep the instruction prefix on the evaluation prompts.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="Also ask the base model every fact in every phrasing.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into the editor's config.json, for its model card.")] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option("--json", help="Write the results to this file instead of stdout.")] = None,
) -> None:
    """Reliability, generality and locality on held-out edits, one edit at a time."""
    import platform

    import torch
    import transformers
    from tqdm import tqdm

    from .. import editors, evaluation
    from ..atlas import load_world
    from ..atlas.corpus import recall_prompts
    from ..loading import LoadOptions
    from ..studio import Studio
    from ..tasks import get_task

    studio = Studio.open(model, LoadOptions(device, dtype), editor)
    name = method or studio.default_method()
    loaded = studio.method(name)
    if out:
        emit({}, out)  # a path that cannot be written is found now, not after the run
    data = {
        "config": {
            "model": model,
            "method": name,
            "editor": str(editor or "shipped"),
            "n": n,
            "seed": seed,
            "prompts": "prefixed" if prefixed else "plain",
        },
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version()},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads(), "device": str(studio.backbone.device)},
        "summary": [],
        "failures": [],
    }
    for task in map(get_task, tasks.split(",")):
        rows = (loaded, studio.backbone, load_world(), task, n, seed, prefixed)
        summaries, scored = evaluation.evaluate(*rows, lambda r, title=task.name: tqdm(r, desc=title, mininterval=2))
        for s in summaries:
            data["summary"].append({"task": task.name, **asdict(s)})
            print(f"{task.name:<12} {s.metric:<12} {s.score:<15} {s.mean:.1%}  [{s.low:.1%}, {s.high:.1%}]  n={s.n}", file=sys.stderr)
        data["failures"] += [{"task": task.name, **asdict(row)} for row in scored if not row.hit]
    if recall:
        share, misses = evaluation.recall(studio.backbone, recall_prompts(load_world()), lambda r: tqdm(r, desc="recall", mininterval=2))
        data["recall"] = {"share": share, "prompts": len(recall_prompts(load_world())), "misses": misses[:50]}
        print(f"recall of the atlas {share:.2%}", file=sys.stderr)
    if record:
        editors.record_metrics(studio.editor, data)
    emit(data, out)


def directions(
    model: Model = "atlas",
    per_task: Annotated[int, typer.Option(help="Reference edits per task.")] = 40,
    editor: Editor = None,
    seed: int = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """How well the tasks' editing directions separate: raw gradient and update, with and without instruction."""
    from ..atlas import load_world
    from ..directions import Atlas, separation_in_words
    from ..loading import LoadOptions
    from ..studio import Studio

    studio = Studio.open(model, LoadOptions(device, dtype), editor)
    reference = Atlas(studio.backbone, studio.method(studio.default_method()), load_world(), per_task, seed)
    results = []
    for view in reference.views:
        for instructed in (False, True):
            m = reference.map(view, instructed)
            results.append(
                {k: v for k, v in asdict(m).items() if k != "points"} | {"words": f"Over all directions {separation_in_words(m.silhouette_full)}."}
            )
    if as_json:
        emit({"model": model, "per_task": per_task, "seed": seed, "maps": results})
        return
    for r in results:
        kind = "with instruction" if r["instructed"] else "without instruction"
        print(f"{r['view']:<9} {kind:<20} silhouette {r['silhouette_full']:+.2f} (two components {r['silhouette_plane']:+.2f}), "
              f"PC 1-3 explain {sum(r['explained']):.0%}. {r['words']}")  # fmt: skip
