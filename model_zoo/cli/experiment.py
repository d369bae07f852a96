"""`experiment run` and `experiment report`: the study, one command per question."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import Data, Device, Model, Test

app = typer.Typer(no_args_is_help=True, help="The paper's questions, rerun.")

Folder = Annotated[Path, typer.Option(help="Where the JSON files and figures lie.")]


@app.command()
def run(
    name: Annotated[
        str,
        typer.Argument(
            help="The experiment's name, as in docs/RESULTS.md, or all; "
            "a wrong one is answered with the list."
        ),
    ],
    model: Model = "atlas",
    n: Annotated[int, typer.Option("--n", help="Held-out edits per task.")] = 100,
    seed: int = 0,
    data: Data = None,
    test: Test = None,
    recipe: Annotated[
        str, typer.Option(help="What its editors are trained by: paper, studio or real.")
    ] = "paper",
    steps: Annotated[int, typer.Option(help="Training steps of each editor.")] = 800,
    trainings: Annotated[
        int, typer.Option(help="Trainings of each method, where a question asks for several.")
    ] = 3,
    cache: Annotated[
        Path,
        typer.Option(
            help="Where trained editors and what was measured are kept; other records need another folder."
        ),
    ] = Path("runs/editors"),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the JSON files lie; by default docs/results/study, without --data a folder of the "
            "model's name beside it."
        ),
    ] = None,
    set_values: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: another setting of the recipe; may be repeated."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Run one experiment (or all), training the editors it needs, and write NAME.json for `report`."""
    from ..catalog import entry_for, load_backbone
    from ..experiments import EXPERIMENTS, Lab, get_experiment
    from ..loading import LoadOptions
    from ..methods import assignments
    from ..registry import find
    from ..sources import FileSource, default_source, files_by_task
    from ..training.config import RECIPES

    find("recipe", RECIPES, recipe)
    chosen = list(EXPERIMENTS.values()) if name == "all" else [get_experiment(name)]
    backbone, editors = load_backbone(model, LoadOptions(device)), entry_for(model).editors
    source = FileSource(files_by_task(data), files_by_task(test or ())) if data else default_source()
    settings = assignments(set_values or ())
    files = {
        option: [_name(text) for text in given]
        for option, given in zip(("data", "test"), (data, test))
        if data and given
    }
    lab = Lab(backbone, source, cache, n, seed, steps, trainings, editors, recipe, settings, files)
    out = out or Path("docs/results", "study" if data else backbone.name)
    out.mkdir(parents=True, exist_ok=True)
    for experiment in chosen:
        config, rows = lab.config(), experiment.run(lab)
        found = {"experiment": experiment.name, "config": config, "rows": rows}
        (out / f"{experiment.name}.json").write_text(
            json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        print(f"{out / experiment.name}.json")


@app.command()
def report(
    results: Folder = Path("docs/results/study"),
    out: Annotated[Path, typer.Option(help="The document.")] = Path("docs/RESULTS.md"),
) -> None:
    """Write RESULTS.md, or another document like it, and tables and figures, from the JSON files."""
    from ..experiments import get_experiment
    from ..experiments.render import as_csv, svg
    from ..experiments.results import document, read

    found = read(results)
    if not found:
        raise ValueError(
            f"{results} holds no experiment's JSON; make one with 'python -m model_zoo experiment run NAME'."
        )
    for name, data in found.items():
        (results / f"{name}.csv").write_text(as_csv(data["rows"]), encoding="utf-8")
        figure = svg(get_experiment(name).view, data["rows"])
        (results / f"{name}.svg").write_text(figure, encoding="utf-8")
    out.write_text(document(found, results.as_posix(), out.as_posix()), encoding="utf-8")
    print(out)


def _name(given: str) -> str:
    """TASK=FILE[,FILE] without the files' folders."""
    task, equals, files = given.partition("=")
    return f"{task}{equals}{','.join(Path(file).name for file in files.split(','))}"
