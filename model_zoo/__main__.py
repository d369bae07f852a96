"""The command line: edit, train, evaluate, directions, atlas rebuild. `python -m model_zoo --help` lists them."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Edit what a language model believes.")
atlas_app = typer.Typer(no_args_is_help=True, help="The embedded world.")
app.add_typer(atlas_app, name="atlas")

Model = Annotated[str, typer.Option(help="atlas, a local folder, or a Hub repo id.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Editor = Annotated[Path | None, typer.Option(help="Folder of a trained editor, instead of the model's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def _emit(data: dict, path: Path | None = None) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


@app.command()
def edit(
    prompt: Annotated[str, typer.Option(help="The text that the edit continues.")],
    target: Annotated[str, typer.Option(help="What the model should say instead.")],
    model: Model = "atlas",
    task: Annotated[str, typer.Option(help="counterfact, recent, convsent or zsre.")] = "counterfact",
    instruction: Annotated[str | None, typer.Option(help="What the edit should do; default: the task's first wording.")] = None,
    method: Annotated[str | None, typer.Option(help="instructedit or ft-l; default: the best that can run.")] = None,
    strength: Annotated[float, typer.Option(help="Scale of the edit; 0 is the base model.")] = 1.0,
    ask: Annotated[list[str] | None, typer.Option(help="A prompt to put to both models; may be repeated.")] = None,
    prefixed: Annotated[bool, typer.Option("--prefixed", help="Ask with the instruction prefix too.")] = False,
    editor: Editor = None,
    export: Annotated[Path | None, typer.Option(help="Folder for delta.safetensors.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Make one edit and show what it changed and what it left alone."""
    from .studio import Studio

    studio = Studio.open(model, device, dtype, editor)
    request = studio.request(task, prompt, target, instruction)
    report, session = studio.edit(request, method or studio.default_method(), strength, ask=ask or (), prefixed=prefixed)
    if export:
        session.patch(studio.method).save(export)
    if as_json:
        _emit(report.to_dict())
        return
    print(f"Prompt       {report.prompt}\nBefore       {report.before}\nAfter        {report.after}")
    chance = report.target_probability
    print(f"P(target)    {chance['before']:.1%} -> {chance['after']:.1%}    edit made in {report.edit_seconds * 1000:.0f} ms")
    for title, checks in (("Holds", report.generality), ("Local", report.locality)):
        print(f"{title:<12} {sum(c.held for c in checks)} of {len(checks)}")
        for check in checks:
            print(f"  {'yes' if check.held else 'NO ':<4}{check.prompt}  |  {check.before}  ->  {check.after}")
    for asked in report.ask:
        print(f"Ask          {asked['prompt']}  |  {asked['before']}  ->  {asked['after']}")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for the editor; a checkpoint found there is resumed.")],
    model: Model = "atlas",
    tasks: Annotated[str, typer.Option(help="Comma-separated training tasks.")] = "counterfact,recent,convsent",
    instructions: Annotated[bool, typer.Option(help="--no-instructions trains the MEND baseline on the same data.")] = True,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    rank: Annotated[int, typer.Option(help="Width of the hypernetwork's bottleneck.")] = 256,
    start: Annotated[Path | None, typer.Option(help="An editor to finish on hard negatives: the nearest facts, in the edit's own phrasing.")] = None,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Meta-train an editor for a base model on the atlas' records."""
    from .atlas import load_world
    from .catalog import load_backbone
    from .methods.hypernetwork import HyperConfig
    from .tasks import get_task
    from .training.meta import FINISH, MetaConfig, MetaTrainer

    names = tuple(get_task(name.strip()).name for name in tasks.split(","))
    config = replace(FINISH if start else MetaConfig(), tasks=names, instructed=instructions)
    config = replace(config, steps=steps or config.steps)
    MetaTrainer(load_backbone(model, device), load_world(), config, HyperConfig(rank=rank), seed, start).run(out)


@app.command()
def evaluate(
    model: Model = "atlas",
    method: Annotated[str | None, typer.Option(help="instructedit or ft-l.")] = None,
    editor: Editor = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks.")] = "counterfact,recent,convsent,zsre",
    n: Annotated[int, typer.Option("--n", help="Held-out edits per task.")] = 200,
    seed: int = 0,
    prefixed: Annotated[bool, typer.Option("--prefixed", help="Keep the instruction prefix on the evaluation prompts.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="Also ask the base model every fact in every phrasing.")] = False,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option("--json", help="Write the results to this file instead of stdout.")] = None,
) -> None:
    """Reliability, generality and locality on held-out edits, one edit at a time."""
    import platform

    import torch
    import transformers
    from tqdm import tqdm

    from . import evaluation
    from .atlas import load_world
    from .atlas.corpus import recall_prompts
    from .studio import Studio
    from .tasks import get_task

    studio = Studio.open(model, device, editor=editor)
    name = method or studio.default_method()
    loaded = studio.method(name)
    if out:
        _emit({}, out)  # a path that cannot be written is found now, not after the run
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
    _emit(data, out)


@app.command()
def directions(
    model: Model = "atlas",
    per_task: Annotated[int, typer.Option(help="Reference edits per task.")] = 40,
    editor: Editor = None,
    seed: int = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """How well the tasks' editing directions separate: raw gradient and update, with and without instruction."""
    from .directions import Atlas, separation_in_words
    from .studio import Studio

    studio = Studio.open(model, device, editor=editor)
    if studio.world is None:
        raise ValueError(f"The reference edits are atlas records, which {model} was not trained on; use --model atlas.")
    reference = Atlas(studio.backbone, studio.method(studio.default_method()), studio.world, per_task, seed)
    results = []
    for view in ("gradient", "update"):
        for instructed in (False, True):
            m = reference.map(view, instructed)
            results.append(
                {k: v for k, v in asdict(m).items() if k != "points"} | {"words": f"Over all directions {separation_in_words(m.silhouette_full)}."}
            )
    if as_json:
        _emit({"model": model, "per_task": per_task, "seed": seed, "maps": results})
        return
    for r in results:
        kind = "with instruction" if r["instructed"] else "without instruction"
        print(f"{r['view']:<9} {kind:<20} silhouette {r['silhouette_full']:+.2f} (two components {r['silhouette_plane']:+.2f}), "
              f"PC 1-3 explain {sum(r['explained']):.0%}. {r['words']}")  # fmt: skip


@atlas_app.command()
def rebuild(
    out: Annotated[Path, typer.Option(help="Folder for base/ and editor/.")] = Path(__file__).parent / "weights" / "atlas",
    seed: int = 0,
    device: Device = "auto",
    part: Annotated[str, typer.Option(help="all, base, or editor (for the base model already in the folder).")] = "all",
) -> None:
    """Train the embedded tokenizer, base model and editor from scratch."""
    from .atlas import load_world
    from .backbone import Backbone, pick_device
    from .training.meta import FINISH, MetaConfig, MetaTrainer
    from .training.pretrain import pretrain

    device = pick_device(device)
    if part not in ("all", "base", "editor"):
        raise ValueError(f"The part '{part}' is unknown; use all, base or editor.")
    if part != "editor":
        pretrain(load_world(), out / "base", seed=seed, device=device)
    if part != "base":
        backbone = Backbone.load(out / "base", device, "fp32", "atlas")
        MetaTrainer(backbone, load_world(), MetaConfig(), seed=seed).run(out / "editor-first")
        MetaTrainer(backbone, load_world(), FINISH, seed=seed, start=out / "editor-first").run(out / "editor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input is one sentence on stderr and exit code 2."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    command = typer.main.get_command(app)
    try:
        return command.main(args=arguments, prog_name="python -m model_zoo", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if hasattr(error, "format_message"):  # the option parser's own errors
            if error.format_message():  # empty when the help was printed instead
                print(f"error: {error.format_message()}", file=sys.stderr)
            return 2
        if isinstance(error, ValueError | OSError):
            print(f"error: {error}", file=sys.stderr)
            return 2
        raise


if __name__ == "__main__":
    sys.exit(main())
