"""The Train tab: an editor for the chosen base model, its loss as it falls; the Edit tab opens with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from model_zoo.progress import duration
from model_zoo.training.config import RECIPES
from model_zoo.training.following import Curve, Finished, Preparing, Stepped, TrainingEvent

from . import html
from .edit_inputs import components
from .handlers import LONG, QUIET, errors_as_messages, stops
from .html_train import estimated, finished, pushed
from .plots import loss_figure
from .tab import PageParts, Tab
from .train_inputs import about_recipe, lay_out_train_inputs, wanted
from .visitor import VisitorState

STEP_SECONDS = 120.0  # that the step of a stopped training may still take
HEAD = ["step", "loss", "held-out loss", "reliability", "generality", "locality"]
_ABOUT = "Trains a new editor for {0}, on {1} or on record files of yours. The base model stays as it is."
_STOPPING = "Stopping: the step at hand comes to its end…"
_STOPPED = "Stopped. What was learned is kept: press Train with the same name and settings to go on."
_NOT_BEGUN = "Nothing was trained; everything is as it was."
_NOT_SENT = "Nothing was sent; the editor lies where it lay."
_FAILED = "The training ended before its time. If it left a checkpoint, Train goes on from there."


@dataclass(frozen=True)
class Outputs:
    words: gr.Markdown
    takes: gr.HTML
    plot: gr.Plot
    table: gr.Dataframe
    done: gr.HTML
    use: gr.Button
    publish: gr.Accordion
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
        figures = self.runtime.estimate(state.choice, wanted(*values))
        yield {self.out.words: "What this training will take:", self.out.takes: estimated(figures)}

    def train(self, state: VisitorState, *values: Any) -> Iterator[dict]:
        """Train, and tell how far that is after every few steps."""
        curve = Curve()
        yield {self.out.words: "Beginning…"}
        try:
            for events in self.runtime.train(state.choice, wanted(*values)):
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
            parts = dict.fromkeys((self.out.use, self.out.publish), hidden)
            return parts | {self.out.words: event.text, self.out.takes: "", self.out.done: ""}
        if isinstance(event, Finished):
            return {
                self.out.words: _ended(event),
                self.out.done: finished(event.folder, model),
                self.out.use: gr.update(visible=True),
                self.out.publish: gr.update(visible=True),
                self.out.made: (model, str(event.folder)),
            }
        figure, table = go.Figure(loss_figure(curve, event.steps)), _rows(event, curve)
        return {
            self.out.words: _so_far(event, curve),
            self.out.plot: gr.update(value=figure, visible=True),
            self.out.table: gr.update(value=table, visible=True),
        }

    def stop(self) -> Iterator[str]:
        """Said once the training was cancelled: that it ends, and that it has."""
        yield _STOPPING
        self.runtime.training_ended(STEP_SECONDS)
        yield _STOPPED

    def use(self, made: tuple[str, str]) -> dict:
        """The base model and its new editor, chosen in the Edit tab."""
        model, folder = made
        inputs = self.parts.inputs
        return {inputs.model: model, inputs.editor: folder, self.parts.tabs: gr.Tabs(selected="edit")}

    def push(self, made: tuple[str, str], repo: str, private: bool) -> Iterator[str]:
        """Publish the editor on the Hub, with its card."""
        yield html.note(f"Sending it to {repo}…")
        try:
            url = self.runtime.push_editor(Path(made[1]), repo, private)
        except Exception:
            yield html.note(_NOT_SENT)
            raise
        yield pushed(url)


def _so_far(event: Stepped, curve: Curve) -> str:
    """How far it is, and what held-out edits said last."""
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in event.parts.items() if name in ("edit", "local")
    )
    text = (
        f"**Step {event.step} of {event.steps}**, {duration(event.left)} left. "
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
    publish = gr.Accordion("Publish it on the Hub", open=False, visible=False, elem_id="train-publish")
    return Outputs(words, takes, plot, table, done, use, publish, gr.State(("", "")))


def _lay_out_publishing(publish: gr.Accordion) -> tuple[gr.Button, list, gr.HTML]:
    """(button, its inputs, where it is told)."""
    with publish:
        repo = gr.Textbox(
            label="Repo",
            elem_id="train-repo",
            max_lines=1,
            placeholder="YOU/my-editor",
            info="YOU are whom `hf auth login`, or HF_TOKEN, says on this machine",
        )
        private = gr.Checkbox(True, label="Private", elem_id="train-private")
        push = gr.Button("Push it", elem_id="train-push")
        told = gr.HTML(elem_id="train-pushed")
    return push, [repo, private], told


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    about = gr.HTML(elem_id="train-about")
    inputs, files = lay_out_train_inputs()
    with gr.Row():
        train = gr.Button("Train", variant="primary", elem_id="train", scale=4, min_width=110)
        estimate = gr.Button("Estimate", elem_id="train-estimate", scale=1, min_width=95)
        stop = gr.Button("Stop", elem_id="train-stop", scale=1, min_width=75)
    outputs = _lay_out_outputs()
    push, where, told = _lay_out_publishing(outputs.publish)
    tab = TrainTab(parts, outputs)
    frame.select(errors_as_messages(tab.about), parts.state, about, **QUIET)
    inputs.recipe.input(
        lambda recipe: (gr.update(info=about_recipe(recipe)), RECIPES[recipe][0].steps),
        inputs.recipe,
        [inputs.recipe, inputs.steps],
        **QUIET,
    )
    asked = [parts.state, *components(inputs), *files]
    shown = components(outputs)
    estimate.click(errors_as_messages(tab.estimate), asked, shown[:2], **QUIET, **LONG)
    training = train.click(errors_as_messages(tab.train), asked, shown, **QUIET, **LONG)
    stops(stop, [training], tab.stop, [outputs.words])
    chosen = [parts.inputs.model, parts.inputs.editor, parts.tabs]
    push.click(errors_as_messages(tab.push), [outputs.made, *where], told, **QUIET)
    parts.opens_model(outputs.use.click(tab.use, outputs.made, chosen, **QUIET).then)


TAB = Tab("Train", build, in_demo=False)
