"""The inputs of the Train tab: which editor, on what, how."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from model_zoo.benchmarks import FILE_TYPES
from model_zoo.tasks import TASKS
from model_zoo.training.config import RECIPES, RECIPES_IN_WORDS

from .trainings import Wanted

TRAINED = [task for task in TASKS.values() if task.trained]


@dataclass(frozen=True)
class TrainInputs:
    """In the order of the handlers; behind them the files, one input for each trained task."""

    name: gr.Textbox
    tasks: gr.CheckboxGroup
    recipe: gr.Radio
    steps: gr.Number
    rank: gr.Number
    patience: gr.Number
    seed: gr.Number
    settings: gr.Textbox


def wanted(
    name: str,
    tasks: list[str],
    recipe: str,
    steps: float | None,
    rank: float | None,
    patience: float | None,
    seed: float | None,
    settings: str,
    *files: list[str] | None,
) -> Wanted:
    """What the inputs ask for."""
    given = {task.name: own for task, own in zip(TRAINED, files, strict=True) if own}
    lines = tuple(line.strip() for line in settings.splitlines() if line.strip())
    return Wanted(
        name.strip(),
        tuple(tasks),
        given,
        recipe,
        steps=int(steps) if steps else None,
        rank=int(rank) if rank else None,
        patience=int(patience or 0),
        seed=int(seed or 0),
        settings=lines,
    )


def about_recipe(recipe: str) -> str:
    return f"{recipe}: {RECIPES_IN_WORDS[recipe]}"


def lay_out_train_inputs() -> tuple[TrainInputs, list[gr.File]]:
    recipe = next(iter(RECIPES))
    with gr.Row(elem_id="train-controls"):
        with gr.Column(min_width=280):
            name = gr.Textbox(
                "my-editor",
                label="Name",
                elem_id="train-name",
                max_lines=1,
                info="Its folder's, on this machine",
            )
            tasks = gr.CheckboxGroup(
                [(task.title, task.name) for task in TRAINED],
                value=[task.name for task in TRAINED],
                label="Tasks",
                elem_id="train-tasks",
                info="Of the facts at hand; record files bring their own",
            )
        with gr.Column(min_width=280):
            recipes = gr.Radio(
                list(RECIPES),
                value=recipe,
                label="Recipe",
                elem_id="train-recipe",
                info=about_recipe(recipe),
            )
            steps = gr.Number(
                RECIPES[recipe][0].steps,
                label="Steps",
                elem_id="train-steps",
                info="The recipe's, until you say another number",
                precision=0,
                minimum=1,
                maximum=10**6,
            )
    with gr.Accordion("Record files of your own, by task", open=False, elem_id="train-files"), gr.Row():
        files = [
            gr.File(
                label=task.title,
                file_types=list(FILE_TYPES),
                file_count="multiple",
                height=140,
                elem_id=f"train-{task.name}",
                elem_classes="drop",
            )
            for task in TRAINED
        ]
    with gr.Accordion("More settings", open=False, elem_id="train-more"), gr.Row():
        small: dict[str, Any] = {"precision": 0, "min_width": 160}
        rank = gr.Number(
            0,
            label="Rank",
            elem_id="train-rank",
            minimum=0,
            maximum=8192,
            info="Width of the network; 0: the recipe's",
            **small,
        )
        patience = gr.Number(
            0,
            label="Patience",
            elem_id="train-patience",
            minimum=0,
            maximum=100,
            info="Looks without gain before it ends; 0: off",
            **small,
        )
        seed = gr.Number(
            0,
            label="Seed",
            elem_id="train-seed",
            minimum=0,
            maximum=2**31,
            info="Of all that is drawn",
            **small,
        )
        settings = gr.Textbox(
            "",
            label="Other settings",
            elem_id="train-settings",
            lines=2,
            info="NAME=VALUE, one a line",
            placeholder="edits=8",
        )
    return TrainInputs(name, tasks, recipes, steps, rank, patience, seed, settings), files
