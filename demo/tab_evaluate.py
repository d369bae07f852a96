"""The Evaluate tab: methods on many edits, with intervals; a case that missed opens in the Edit tab."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import gradio as gr
import plotly.graph_objects as go

from model_zoo.benchmarks import FILE_TYPES, TEMPLATE_CSV, read
from model_zoo.benchmarks.languages import with_translations
from model_zoo.evaluation import Plan, Results, report
from model_zoo.evaluation.metrics import METRICS, SCORES
from model_zoo.evaluation.run import UNEDITED
from model_zoo.methods import METHODS
from model_zoo.records import Probe, Record
from model_zoo.request import EditRequest
from model_zoo.tasks import TASKS

from . import html
from .edit_inputs import components
from .handlers import LONG, QUIET, errors_as_messages, stops
from .hyper_controls import HyperControls, lay_out_hyper_controls
from .runtime import MOST_ROWS
from .tab import PageParts, Tab
from .visitor import ModelChoice, VisitorState

MOST = 200  # edits per task
# A public demo's machine is shared: fewer edits per task, and not all prompts of each kind per edit.
MOST_IN_DEMO = 10
PROBES_IN_DEMO = 12
FIRST_METHODS = ("instructedit", "ft-l")  # ticked when the page opens
_KNOWN = "Measures {0} on held-out edits of facts that it knows, from {1}."
_UNKNOWN = (
    "{0} knows none of the facts that the tasks' edits are about, so they would measure nothing on it. "
    "A file of your own edits can be measured."
)
CASE_HEAD = ["method", "task", "prompt", "target", "missed"]
_TEMPLATE = Path(tempfile.mkdtemp(prefix="instructedit-template-")) / "edits.csv"
_OWN_FILE = (
    '<p class="source">A CSV, JSON or JSON Lines file with at least a prompt and a target per row '
    "replaces the tasks.</p>"
)


@dataclass(frozen=True)
class Inputs:
    methods: gr.CheckboxGroup
    tasks: gr.CheckboxGroup
    n: gr.Slider
    records: gr.File


@dataclass(frozen=True)
class Outputs:
    about: gr.HTML
    words: gr.Markdown
    bars: list[gr.Plot]  # one per metric
    table: gr.Dataframe
    cases: gr.Dataframe
    missed: gr.State  # the cases that `cases` lists

    @property
    def all(self) -> list:
        return [self.words, self.missed, self.table, self.cases, *self.bars]


# ---- handlers ----------------------------------------------------------------------------------------------


class EvaluateTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, outputs: Outputs, hyper: HyperControls):
        self.parts, self.runtime, self.out, self.hyper = parts, parts.runtime, outputs, hyper

    def measure(
        self, state: VisitorState, methods: list[str], tasks: list[str], n: int, records: str | None, *hyper
    ) -> Iterator[dict]:
        """Measure the chosen methods; tell how far that is, then show the results."""
        if not methods or not (tasks or records):
            raise ValueError("Choose at least one method, and a task or a file of your own.")
        able = self._able(state.choice, methods)
        plan = self._plan(state.choice, able, tasks, n, records)
        plan = replace(plan, hyperparameters=self._changed(able, hyper))
        results = None
        yield {self.out.words: "Measuring…"}
        for done, total, results in self.runtime.measure(state.choice, plan):  # noqa: B007 - the last one counts
            yield {self.out.words: f"Measured {done} of {total} groups of edits…"}
        unable = [METHODS[name].pretty_name for name in methods if name not in able]
        yield self._shown(cast(Results, results).to_dict(), unable)

    def about(self, state: VisitorState) -> dict:
        """What is measured, and on which model."""
        source = self.runtime.studio(state.choice).source
        text = _KNOWN if source.tasks else _UNKNOWN
        return {self.out.about: html.note(text.format(state.choice, source.title))}

    def _changed(self, methods: list[str], hyper: tuple) -> dict[str, dict]:
        """What of the methods' hyperparameters is not the default."""
        changed = {name: self.hyper.changed(name, hyper) for name in methods if name != UNEDITED}
        return {name: values for name, values in changed.items() if values}

    def _able(self, choice: ModelChoice, methods: list[str]) -> list[str]:
        """The methods that can run: those that need no editor, and those that there is an editor for."""
        editors = self.runtime.studio(choice).editors
        able = [
            name for name in methods if name == UNEDITED or not METHODS[name].needs_editor or name in editors
        ]
        if not able:
            raise ValueError(
                f"No chosen method can run on {choice}: it has no trained editor for them. Choose FT-L."
            )
        return able

    def _plan(
        self, choice: ModelChoice, methods: list[str], tasks: list[str], n: int, records: str | None
    ) -> Plan:
        demo = self.runtime.settings.demo
        n, probes = min(int(n), MOST_IN_DEMO if demo else MOST), PROBES_IN_DEMO if demo else None
        plan = Plan(choice.model, tuple(methods), tuple(tasks), n, 0, "plain", records, probes)
        return replace(plan, most_rows=MOST_ROWS)

    def _shown(self, data: dict, unable: list[str]) -> dict:
        """The update that shows the results; `unable` names the methods that could not run."""
        summary, missing = data["summary"], report.failing(data["cases"])
        rows = [[c["method"], c["task"], c["prompt"], c["target"], len(missed)] for c, missed in missing]
        return {
            self.out.words: _in_words(data, unable),
            self.out.missed: tuple(case for case, _ in missing),
            self.out.table: gr.update(value=report.table(summary), visible=True),
            self.out.cases: gr.update(value=rows, visible=bool(missing)),
            **{plot: _figure(summary, m) for plot, m in zip(self.out.bars, report.METRICS, strict=True)},
        }

    def open_case(
        self, state: VisitorState, missed: tuple[dict, ...], records: str | None, event: gr.SelectData
    ) -> Iterator[dict]:
        """Open the clicked case in the Edit tab, with what its file of `records` has in other languages. A
        case from an own file may have no task of ours.
        """
        case, inputs = missed[event.index[0]], self.parts.inputs
        prompt, target = case["prompt"], case["target"]
        request = EditRequest(prompt, target, case["task"])
        record = Record(request, case["subject"], "", *_probes(case))
        if records and Path(records).is_file():  # still there
            record = with_translations(record, read(records, most=MOST_ROWS).records)
        if case["task"] in TASKS:
            filled = inputs.filled(case["task"], case["instruction"], prompt, target)
        else:
            filled = {inputs.prompt: prompt, inputs.target: target}
        yield self.parts.open_edit(state._replace(record=record), filled)


def _probes(case: dict) -> tuple[tuple, tuple]:
    """(paraphrases, locality probes) of a measured case."""
    rows = case["rows"]
    paraphrases = tuple(r["prompt"] for r in rows if r["metric"] == "generality")
    return paraphrases, tuple(Probe(r["prompt"], r["expected"]) for r in rows if r["metric"] == "locality")


def _figure(summary: list[dict], metric: str):
    """One metric's bars; nothing where no record has the field."""
    if not any(s["metric"] == metric for s in summary):
        return gr.update(visible=False)
    return gr.update(value=go.Figure(report.bars(summary, metric)), visible=True)


def _in_words(data: dict, unable: list[str]) -> str:
    """What was measured, and what was left out."""
    n = max((s["n"] for s in data["summary"]), default=0)
    text = (
        f"Up to **{n} edits per task**, one at a time, asked without the instruction afterwards, "
        "with bootstrap 95% intervals by subject."
    )
    if unable:
        text += f" Left out: {', '.join(unable)}, for want of a trained editor."
    if skipped := data["skipped"]:
        first = skipped[0]
        text += (
            f" {len(skipped)} rows or fields were left out; the first: "
            f"row {first['row']}, {first['field']}: {first['reason']}."
        )
    if data["unread"]:
        text += f" Fields that nothing reads: {', '.join(data['unread'])}."
    return text


# ---- layout ------------------------------------------------------------------------------------------------


def _lay_out_inputs(most: int) -> tuple[Inputs, HyperControls]:
    with gr.Row(elem_id="evaluate-controls"):
        methods = gr.CheckboxGroup(
            [(m.pretty_name, m.name) for m in METHODS.values()] + [("No edit", UNEDITED)],
            value=list(FIRST_METHODS),
            label="Methods",
            elem_id="methods",
            info="One that needs an editor runs where there is one",
        )
        titles = [(t.title, t.name) for t in TASKS.values()]
        tasks = gr.CheckboxGroup(titles, value=["counterfact"], label="Tasks", elem_id="tasks")
        n = gr.Slider(
            2,
            most,
            value=min(10, most),
            step=1,
            label="Edits per task",
            elem_id="n",
            info="Held-out subjects and wordings",
        )
    with gr.Accordion("Methods' settings", open=False, elem_id="method-settings"):
        hyper = lay_out_hyper_controls("measured", FIRST_METHODS)
    hyper.show_for(methods)
    return Inputs(methods, tasks, n, _lay_out_upload()), hyper


def _lay_out_upload() -> gr.File:
    _TEMPLATE.write_text(TEMPLATE_CSV, encoding="utf-8")
    with gr.Accordion("Your own edits", open=False):
        gr.HTML(_OWN_FILE)
        with gr.Row():
            upload = gr.File(label="Records", file_types=list(FILE_TYPES), elem_id="records", height=120)
            gr.DownloadButton("Download a template", str(_TEMPLATE), size="sm", elem_id="template")
    return upload


def _lay_out_definitions() -> None:
    """What every figure means, one click away."""
    with gr.Accordion("What the figures mean", open=False, elem_id="definitions"):
        told = {**METRICS, **{score.title: score.definition for score in SCORES.values()}}
        gr.Markdown("\n".join(f"- **{name.replace('_', ' ')}**: {text}" for name, text in told.items()))


def _lay_out_outputs(about: gr.HTML) -> Outputs:
    words = gr.Markdown("Nothing has been measured yet.", elem_id="evaluate-words")
    hidden: dict[str, Any] = {"show_label": False, "container": False, "visible": False, "min_width": 320}
    with gr.Row(elem_id="bars"):
        bars = [gr.Plot(**hidden, elem_id=f"bars-{metric}") for metric in report.METRICS]
    hidden = {"interactive": False, "visible": False, "wrap": True}
    table = gr.Dataframe(headers=list(report.HEAD), **hidden, elem_id="evaluate-table")
    cases = gr.Dataframe(
        headers=CASE_HEAD,
        **hidden,
        elem_id="evaluate-cases",
        show_label=True,
        label="Cases that missed something: click one to open it",
    )
    return Outputs(about, words, bars, table, cases, gr.State(()))


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    about = gr.HTML(elem_id="evaluate-about")
    inputs, hyper = _lay_out_inputs(MOST_IN_DEMO if parts.runtime.settings.demo else MOST)
    with gr.Row():
        button = gr.Button("Measure", variant="primary", elem_id="measure", scale=5)
        stop = gr.Button("Stop", elem_id="stop-measuring", scale=1, min_width=90)
    outputs = _lay_out_outputs(about)
    _lay_out_definitions()
    tab = EvaluateTab(parts, outputs, hyper)
    frame.select(errors_as_messages(tab.about), parts.state, about, **QUIET)
    measure, open_case = errors_as_messages(tab.measure), errors_as_messages(tab.open_case)
    measuring = button.click(
        measure, [parts.state, *components(inputs), *hyper.components], outputs.all, **QUIET, **LONG
    )
    stops(stop, [measuring], lambda: "Stopped.", [outputs.words])
    outputs.cases.select(open_case, [parts.state, outputs.missed, inputs.records], parts.opened, **QUIET)


TAB = Tab("Evaluate", build)
