"""The Directions tab: a map of reference edits' directions, and where the visitor's own edits fall."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import gradio as gr

from model_zoo.directions import ALL, DirectionMap, Point, separation_in_words
from model_zoo.methods import METHODS
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS

from . import html
from .edit_inputs import components
from .handlers import MAPS, PRIVATE, errors_as_messages
from .plots import OwnPoint, direction_figure
from .tab import PageParts, Tab
from .visitor import ModelChoice, VisitorState

# gr.Plot has no click event: this listens on the Plotly element itself, again after every redraw, and hands
# the clicked point's index to Python.
_BRIDGE = """
const hook = () => {
  const plot = document.querySelector('#direction-plot .js-plotly-plot');
  if (plot && plot.on && !plot.dataset.bridged) {
    plot.dataset.bridged = '1';
    plot.on('plotly_click', (event) => trigger('select', {index: event.points[0].customdata}));
  }
};
new MutationObserver(hook).observe(document.body, {childList: true, subtree: true});
hook();
"""
_CLICK_A_POINT = (
    '<p class="source">Each point is one edit from the held-out subjects. '
    "Click a point to load that edit.</p>"
)
_UNKNOWN = "The reference edits are taken from {}, whose facts {} was not taught."
_NO_UPDATE = "{} is the method here and has no directions of its own, so the map shows raw gradients."
_TABLE_HEAD = ["task", "prompt", "target", "PC 1", "PC 2", "PC 3"]


def in_words(m: DirectionMap, told: str) -> str:
    """The map's scores as two sentences, and what else has to be known; as HTML."""
    shown = sum(m.explained[:2])
    plane, full = separation_in_words(m.silhouette_plane), separation_in_words(m.silhouette_full)
    return (
        f'<p class="note"><b>In this plane {plane}</b> (silhouette {m.silhouette_plane:+.2f}); '
        f"over all directions {full} ({m.silhouette_full:+.2f}; 1 is perfect separation, 0 none). "
        f"The first two components show {shown:.0%} of the variance, "
        f"so the picture is a shadow of the whole. {escape(told)}</p>"
    )


def remarks(choice: ModelChoice, studio: Studio, view: str) -> str:
    """What has to be known about a map on a model that other edits or views were made for."""
    source, method, told = studio.reference, METHODS[studio.default_method()], []
    if studio.source is not source:
        told.append(_UNKNOWN.format(source.title, choice))
    if view == "update" and not method.has_directions:
        told.append(_NO_UPDATE.format(method.pretty_name))
    return " ".join(told)


def _rows(points: tuple[Point, ...], own: list[OwnPoint]) -> list[list]:
    """The map as a table: the visitor's own edits, then the reference edits."""
    rows = [["Your edit", *label.split(" → ", 1), *_rounded(position)] for label, position in own]
    for point in points:
        request = point.request
        rows.append([TASKS[point.task].title, request.prompt, request.target, *_rounded(point.position)])
    return rows


def _rounded(position: tuple[float, float, float]) -> list[float]:
    return [round(x, 3) for x in position]


@dataclass(frozen=True)
class Controls:
    """What decides how the map is drawn."""

    view: gr.Radio
    instructed: gr.Radio
    dimensions: gr.Radio
    module: gr.Dropdown


@dataclass(frozen=True)
class Picture:
    """The map, drawn, in words and as a table."""

    plot: gr.Plot
    words: gr.HTML
    table: gr.Dataframe


class DirectionsTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, controls: Controls, picture: Picture):
        self.parts, self.runtime, self.controls, self.picture = parts, parts.runtime, controls, picture

    def draw(
        self,
        state: VisitorState,
        view: str,
        instructed: bool,
        dimensions: str,
        module: str,
        progress=gr.Progress(),  # noqa: B008 - how Gradio hands it in
    ) -> Iterator[dict]:
        """Compute the map and draw it."""
        progress(0.0, desc="Editing with the reference examples")
        own = [e for e in state.session.active if view == "gradient" or METHODS[e.method].has_directions]
        requests = [edit.request for edit in own]
        drawn: tuple = ()
        for step in self.runtime.map(state.choice, requests, view, instructed, module):
            if isinstance(step, tuple):
                drawn = step
            else:
                progress(step, desc="Editing with the reference examples")
                yield {self.picture.plot: gr.skip()}
        m, modules, positions = drawn
        stars = [(edit.label, position) for edit, position in zip(own, positions, strict=True)]
        told = remarks(state.choice, self.runtime.studio(state.choice), view)
        yield {
            self.picture.plot: direction_figure(m, stars, dimensions == "3D"),
            self.picture.words: in_words(m, told),
            self.picture.table: _rows(m.points, stars),
            self.controls.module: gr.update(choices=modules, value=m.module),
            self.controls.view: m.view,
        }

    def load(self, state: VisitorState, event: gr.EventData) -> Iterator[dict]:
        """Open the clicked point's edit in the Edit tab. The visitor's own edits are already there."""
        index = event._data["index"]
        if not isinstance(index, int) or index < 0:
            yield {self.parts.tabs: gr.Tabs(selected="edit")}
            return
        task, record = self.runtime.directions(state.choice).records[index]
        request = record.request
        instruction = task.fill(task.held_out_instruction, dict(record.slots))
        filled = self.parts.inputs.filled(request.task, instruction, request.prompt, request.target)
        yield self.parts.open_edit(state._replace(record=record), filled)


def _lay_out_controls() -> Controls:
    views = [("Editor's update", "update"), ("Raw gradient", "gradient")]
    ways = [("with the instruction", True), ("without", False)]
    with gr.Row(elem_id="direction-controls"):
        return Controls(
            view=gr.Radio(views, value="update", label="Direction of", elem_id="view"),
            instructed=gr.Radio(ways, value=True, label="Edited", elem_id="instructed"),
            dimensions=gr.Radio(["2D", "3D"], value="2D", label="Plot", elem_id="dimensions"),
            module=gr.Dropdown([ALL], value=ALL, label="Matrix", elem_id="module"),
        )


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out the tab. The map is computed when the tab is opened, and whenever a control changes."""
    controls = _lay_out_controls()
    words = gr.HTML(html.note("Open this tab to compute the map."), elem_id="direction-words")
    plot = gr.Plot(show_label=False, elem_id="direction-plot", container=False)
    gr.HTML(_CLICK_A_POINT)
    bridge = gr.HTML("", js_on_load=_BRIDGE, elem_id="bridge")
    with gr.Accordion("Show as table", open=False):
        table = gr.Dataframe(headers=_TABLE_HEAD, interactive=False, elem_id="direction-table", wrap=True)
    tab = DirectionsTab(parts, controls, Picture(plot, words, table))
    for trigger in (frame.select, *(control.input for control in components(controls))):
        trigger(
            errors_as_messages(tab.draw),
            [parts.state, *components(controls)],
            [plot, words, table, controls.module, controls.view],
            show_progress_on=plot,
            trigger_mode="always_last",
            **PRIVATE,
            **MAPS,
        )
    bridge.select(errors_as_messages(tab.load), parts.state, parts.opened, **PRIVATE)


TAB = Tab("Directions", build)
