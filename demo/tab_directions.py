"""The Directions tab: the reference edits' directions in principal components, and where the visitor's own edits fall."""

import gradio as gr

from model_zoo.directions import ALL, DirectionMap, separation_in_words
from model_zoo.methods import METHODS
from model_zoo.tasks import TASKS

from .plots import direction_figure
from .runtime import COMPUTE, Runtime, Visit, sentences
from .tab_edit import wordings

# gr.Plot has no click event: this listens on the Plotly element itself, again after every redraw, and hands the
# clicked point's index to Python.
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


def in_words(m: DirectionMap) -> str:
    """The map's scores as two sentences."""
    shown = f"The first two components show {sum(m.explained[:2]):.0%} of the variance, so the picture is a shadow of the whole."
    return (
        f"**In this plane {separation_in_words(m.silhouette_plane)}** (silhouette {m.silhouette_plane:+.2f}); "
        f"over all directions {separation_in_words(m.silhouette_full)} ({m.silhouette_full:+.2f}; 1 is perfect separation, 0 none). {shown}"
    )


def build(runtime: Runtime, visit: gr.State, parts: dict) -> None:
    """Lay out the tab; the map is computed when the tab is first opened."""
    with gr.Row(elem_id="direction-controls"):
        view = gr.Radio([("Editor's update", "update"), ("Raw gradient", "gradient")], value="update", label="Direction of", elem_id="view")
        instructed = gr.Radio([("with the instruction", True), ("without", False)], value=True, label="Edited", elem_id="instructed")
        dimensions = gr.Radio(["2D", "3D"], value="2D", label="Plot", elem_id="dimensions")
        module = gr.Dropdown([ALL], value=ALL, label="Matrix", elem_id="module")
    words = gr.Markdown(elem_id="direction-words", value="Open this tab to compute the map.")
    plot = gr.Plot(show_label=False, elem_id="direction-plot", container=False)
    gr.HTML('<p class="source">Each point is one edit from the held-out subjects. Click a point to load that edit.</p>')
    bridge = gr.HTML("", js_on_load=_BRIDGE, elem_id="bridge")
    with gr.Accordion("Show as table", open=False):
        table = gr.Dataframe(headers=["task", "prompt", "target", "PC 1", "PC 2", "PC 3"], interactive=False, elem_id="direction-table", wrap=True)

    def draw(visit: Visit, view: str, instructed: bool, dimensions: str, module: str, progress=gr.Progress()):  # noqa: B008
        progress(0.1, desc="Editing with the reference examples")
        mine = [edit for edit in visit.session.active if METHODS[edit.delta.request["method"]].low_rank or view == "gradient"]
        m, modules, places = runtime.once(visit.place, "map", [edit.request for edit in mine], view, instructed, module)
        own = [(edit.label, place) for edit, place in zip(mine, places, strict=True)]
        rows = [[TASKS[p.task].title, p.request.prompt, p.request.target, *(round(x, 3) for x in p.position)] for p in m.points]
        rows = [["Your edit", *label.split(" → ", 1), *(round(x, 3) for x in position)] for label, position in own] + rows
        yield {
            plot: direction_figure(m, own, dimensions == "3D"), words: in_words(m), table: rows,
            module_box: gr.update(choices=modules, value=m.module), view_box: m.view,
        }  # fmt: skip

    def load(visit: Visit, event: gr.EventData):
        index = event._data["index"]
        if not isinstance(index, int) or index < 0:  # a star: the visitor's own edit is already there
            yield {parts["tabs"]: gr.Tabs(selected="edit")}
            return
        task, record = runtime.atlas(visit.place).records[index]
        request = record.request
        filled = task.fill(task.held_out_instruction, dict(record.slots))
        yield {
            visit_state: visit._replace(record=record), inputs.task: request.task, inputs.prompt: request.prompt, inputs.target: request.target,
            inputs.instruction: gr.update(choices=wordings(request.task), value=filled), parts["tabs"]: gr.Tabs(selected="edit"),
        }  # fmt: skip

    view_box, module_box, visit_state, inputs = view, module, visit, parts["inputs"]
    controls, drawn = [visit, view, instructed, dimensions, module], [plot, words, table, module, view]
    for trigger in (parts["Directions"].select, view.input, instructed.input, dimensions.input, module.input):
        trigger(sentences(draw), controls, drawn, api_visibility="private", show_progress_on=plot, trigger_mode="always_last", **COMPUTE)
    bridge.select(
        sentences(load), visit, [visit, inputs.task, inputs.prompt, inputs.target, inputs.instruction, parts["tabs"]], api_visibility="private"
    )
