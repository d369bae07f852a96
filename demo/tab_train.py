"""The Train tab: an editor for the chosen base model, its loss as it falls; the Edit tab opens with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from model_zoo.benchmarks import FILE_TYPES
from model_zoo.progress import duration
from model_zoo.tasks import TASKS
from model_zoo.training.config import RECIPES, RECIPES_IN_WORDS
from model_zoo.training.following import Curve, Finished, Preparing, Stepped, TrainingEvent

from . import html
from .edit_inputs import components
from .handlers import LONG, QUIET, errors_as_messages, stops
from .html_train import estimated, finished
from .plots import loss_figure
from .tab import PageParts, Tab
from .trainings import Wanted
from .visitor import VisitorState

TRAINED = [task for task in TASKS.values() if task.trained]
HEAD = ["step", "loss", "held-out loss", "reliability", "generality", "locality"]
_ABOUT = "Trains a new editor for {0}, on {1} or on record files of yours. The base model stays as it is."
_STOPPED = "Stopped. What was learned is kept: press Train with the same name and settings to go on."
_NOT_BEGUN = "Nothing was trained; everything is as it was."
_FAILED = "The training ended before its time. If it left a checkpoint, Train goes on from there."


@dataclass(frozen=True)
class Inputs:
    """In the order of the handlers; behind them the files, one input for each trained task."""

    name: gr.Textbox
    tasks: gr.CheckboxGroup
    recipe: gr.Radio
    steps: gr.Number
    rank: gr.Number
    patience: gr.Number
    seed: gr.Number
    settings: gr.Textbox


@dataclass(frozen=True)
class Outputs:
    words: gr.Markdown
    takes: gr.HTML
    plot: gr.Plot
    table: gr.Dataframe
    done: gr.HTML
    use: gr.Button
    made: gr.State  # (base model, editor's folder) of the editor that was trained last


# ---- handlers ----------------------------------------------------------------------------------------------


class TrainTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, outputs: Outputs):
        self.parts, self.runtime, self.out = parts, parts.runtime, outputs

    def about(self, state: VisitorState) -> str:
        """What is trained, and on what."""
        return html.note(_ABOUT.format(state.choice.model, self.runtime.studio(state.choice).reference.title))

    def estimate(self, state: VisitorState, *values: Any) -> Iterator[dict]:
        """Say what the training will take."""
        yield {self.out.words: "Timing a few edits…", self.out.takes: ""}
        figures = self.runtime.estimate(state.choice, _wanted(*values))
        yield {self.out.words: "What this training will take:", self.out.takes: estimated(figures)}

    def train(self, state: VisitorState, *values: Any) -> Iterator[dict]:
        """Train, and tell how far that is after every few steps."""
        curve = Curve()
        yield {self.out.words: "Beginning…"}
        try:
            for events in self.runtime.train(state.choice, _wanted(*values)):
                for event in events:
                    if isinstance(event, Stepped):
                        curve.add(event)
                yield self._drawn(events[-1], curve, state.choice.model)
        except Exception:
            yield {self.out.words: _FAILED if curve.points else _NOT_BEGUN}
            raise

    def _drawn(self, event: TrainingEvent, curve: Curve, model: str) -> dict:
        """The update that shows the last event and the curve up to it."""
        if isinstance(event, Preparing):
            hidden = gr.update(visible=False)
            return {self.out.words: event.text, self.out.takes: "", self.out.done: "", self.out.use: hidden}
        if isinstance(event, Finished):
            return {
                self.out.words: _ended(event),
                self.out.done: finished(event.folder, model),
                self.out.use: gr.update(visible=True),
                self.out.made: (model, str(event.folder)),
            }
        figure, table = go.Figure(loss_figure(curve, event.steps)), _rows(event, curve)
        return {
            self.out.words: _so_far(event, curve),
            self.out.plot: gr.update(value=figure, visible=True),
            self.out.table: gr.update(value=table, visible=True),
        }

    def use(self, made: tuple[str, str]) -> dict:
        """The base model and its new editor, chosen in the Edit tab."""
        model, folder = made
        inputs = self.parts.inputs
        return {inputs.model: model, inputs.editor: folder, self.parts.tabs: gr.Tabs(selected="edit")}


def _wanted(
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


def _so_far(event: Stepped, curve: Curve) -> str:
    """How far it is, and what held-out edits said last."""
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in event.parts.items() if name in ("edit", "local")
    )
    text = (
        f"**Step {event.step} of {event.steps}**, about {duration(event.left)} left. "
        f"Loss {curve.smoothed['loss']:.3f} ({parts})."
    )
    return f"{text} Held-out edits after {curve.looks[-1][0].in_words()}." if curve.looks else text


def _ended(event: Finished) -> str:
    if event.kept == event.step == event.steps:
        return f"**Trained**: {event.steps} steps."
    return (
        f"**Trained**: {event.step} of {event.steps} steps; the editor is that of step {event.kept}, "
        "where held-out edits fared best."
    )


def _rows(event: Stepped, curve: Curve) -> list[list[str]]:
    """A row for every look at held-out edits, and the last step."""
    rows = []
    for look, loss in curve.looks:
        shares = [f"{look.shares[name]:.0%}" if name in look.shares else "" for name in HEAD[3:]]
        rows.append([str(look.step), f"{loss:.3f}", f"{look.loss:.3f}", *shares])
    if not event.look:
        rows.append([str(event.step), f"{curve.smoothed['loss']:.3f}", "", "", "", ""])
    return rows


# ---- layout ------------------------------------------------------------------------------------------------


def _about_recipe(recipe: str) -> str:
    return f"{recipe}: {RECIPES_IN_WORDS[recipe]}"


def _lay_out_inputs() -> tuple[Inputs, list[gr.File]]:
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
                info=_about_recipe(recipe),
            )
            steps = gr.Number(
                RECIPES[recipe][0].steps,
                label="Steps",
                elem_id="train-steps",
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
                height=120,
                elem_id=f"train-{task.name}",
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
            info="Looks at held-out edits that may be no better before it ends; 0: never",
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
    return Inputs(name, tasks, recipes, steps, rank, patience, seed, settings), files


def _lay_out_outputs() -> Outputs:
    words = gr.Markdown("", elem_id="train-words")
    takes = gr.HTML(elem_id="train-takes")
    plot = gr.Plot(show_label=False, container=False, visible=False, elem_id="train-curve")
    done = gr.HTML(elem_id="train-done")
    use = gr.Button("Use it", variant="primary", visible=False, elem_id="train-use")
    table = gr.Dataframe(
        headers=HEAD,
        interactive=False,
        visible=False,
        elem_id="train-table",
        show_label=True,
        label="The curve in figures",
    )
    return Outputs(words, takes, plot, table, done, use, gr.State(("", "")))


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    about = gr.HTML(elem_id="train-about")
    inputs, files = _lay_out_inputs()
    with gr.Row():
        train = gr.Button("Train", variant="primary", elem_id="train", scale=4, min_width=110)
        estimate = gr.Button("Estimate", elem_id="train-estimate", scale=1, min_width=95)
        stop = gr.Button("Stop", elem_id="train-stop", scale=1, min_width=75)
    outputs = _lay_out_outputs()
    tab = TrainTab(parts, outputs)
    frame.select(errors_as_messages(tab.about), parts.state, about, **QUIET)
    inputs.recipe.input(
        lambda recipe: (gr.update(info=_about_recipe(recipe)), RECIPES[recipe][0].steps),
        inputs.recipe,
        [inputs.recipe, inputs.steps],
        **QUIET,
    )
    asked = [parts.state, *components(inputs), *files]
    shown = components(outputs)
    estimate.click(errors_as_messages(tab.estimate), asked, shown[:2], **QUIET, **LONG)
    training = train.click(errors_as_messages(tab.train), asked, shown, **QUIET, **LONG)
    stops(stop, [training], lambda: _STOPPED, [outputs.words])
    chosen = [parts.inputs.model, parts.inputs.editor, parts.tabs]
    parts.opens_model(outputs.use.click(tab.use, outputs.made, chosen, **QUIET).then)


TAB = Tab("Train", build, in_demo=False)
