"""The Evaluate tab: methods on many edits, with intervals; a case that missed opens in the Edit tab."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import plotly.graph_objects as go

from model_zoo.benchmarks import TEMPLATE_CSV
from model_zoo.evaluation import Plan, report
from model_zoo.evaluation.run import UNEDITED
from model_zoo.methods import METHODS
from model_zoo.request import EditRequest
from model_zoo.tasks import TASKS, Probe, Record

from .runtime import COMPUTE, Runtime, Visit, sentences, stops
from .tab_edit import wordings

# edits per task, and prompts of each kind per edit: a public demo's machine is shared
MOST, MOST_IN_DEMO, PROBES_IN_DEMO = 200, 10, 12
CASE_HEAD = ["method", "task", "prompt", "target", "missed"]
_TEMPLATE = Path(tempfile.mkdtemp(prefix="instructedit-template-")) / "edits.csv"


def build(runtime: Runtime, visit: gr.State, parts: dict) -> None:
    """Lay out and wire the tab."""
    _TEMPLATE.write_text(TEMPLATE_CSV, encoding="utf-8")
    most = MOST_IN_DEMO if runtime.settings.demo else MOST
    with gr.Row(elem_id="evaluate-controls"):
        methods = gr.CheckboxGroup(
            [(m.pretty_name, m.name) for m in METHODS.values()] + [("No edit", UNEDITED)], value=["instructedit", "ft-l"], label="Methods",
            elem_id="methods", info="One that needs an editor runs where there is one",
        )  # fmt: skip
        tasks = gr.CheckboxGroup([(t.title, t.name) for t in TASKS.values()], value=["counterfact"], label="Tasks", elem_id="tasks")
        n = gr.Slider(2, most, value=min(10, most), step=1, label="Edits per task", elem_id="n", info="Held-out subjects and wordings")
    with gr.Accordion("Your own edits", open=False):
        gr.HTML('<p class="source">A CSV, JSON or JSON Lines file with at least a prompt and a target per row replaces the tasks.</p>')
        with gr.Row():
            upload = gr.File(label="Records", file_types=[".csv", ".json", ".jsonl"], elem_id="records", height=120)
            gr.DownloadButton("Download a template", str(_TEMPLATE), size="sm", elem_id="template")
    with gr.Row():
        button = gr.Button("Measure", variant="primary", elem_id="measure", scale=5)
        stop = gr.Button("Stop", elem_id="stop-measuring", scale=1, min_width=90)
    words = gr.Markdown("Nothing has been measured yet.", elem_id="evaluate-words")
    with gr.Row(elem_id="bars"):
        figures = [gr.Plot(visible=False, show_label=False, container=False, min_width=320, elem_id=f"bars-{m}") for m in report.METRICS]
    table = gr.Dataframe(headers=list(report.HEAD), interactive=False, visible=False, elem_id="evaluate-table", wrap=True)
    cases = gr.Dataframe(
        headers=CASE_HEAD, interactive=False, visible=False, wrap=True, elem_id="evaluate-cases", show_label=True,
        label="Cases that missed something: click one to open it",
    )  # fmt: skip
    missed = gr.State(())

    def measure(visit: Visit, methods: list[str], tasks: list[str], n: int, records: str | None) -> Iterator[dict]:
        if not methods or not (tasks or records):
            raise ValueError("Choose at least one method, and a task or a file of your own.")
        able = [name for name in methods if name == UNEDITED or not METHODS[name].needs_editor or name in runtime.studio(visit.place).editors]
        if not able:
            raise ValueError(f"No chosen method can run on {visit.place}: it has no trained editor for them. Choose FT-L.")
        probes = PROBES_IN_DEMO if runtime.settings.demo else None
        plan = Plan(visit.place.model, tuple(able), tuple(tasks), min(int(n), most), 0, "plain", records, probes)
        results = None
        yield {words: "Measuring…"}
        for done, total, results in runtime.run(visit.place, "measuring", plan):  # noqa: B007 - the last one counts
            yield {words: f"Measured {done} of {total} groups of edits…"}
        data = results.to_dict()
        missing = report.failing(data["cases"])
        yield {
            words: _in_words(data, [METHODS[m].pretty_name for m in methods if m not in able]), missed: tuple(case for case, _ in missing),
            table: gr.update(value=report.table(data["summary"]), visible=True),
            cases: gr.update(value=[[c["method"], c["task"], c["prompt"], c["target"], len(rows)] for c, rows in missing], visible=bool(missing)),
            **{plot: _figure(data["summary"], metric) for plot, metric in zip(figures, report.METRICS, strict=True)},
        }  # fmt: skip

    def open_case(visit: Visit, missed: tuple[dict, ...], event: gr.SelectData) -> Iterator[dict]:
        case = missed[event.index[0]]
        task = TASKS.get(case["task"])
        record = Record(EditRequest(case["prompt"], case["target"], case["task"]), case["subject"], "", *_probes(case))
        yield {
            visit_state: visit._replace(record=record), inputs.prompt: case["prompt"], inputs.target: case["target"],
            parts["tabs"]: gr.Tabs(selected="edit"),
            **({inputs.task: task.name, inputs.instruction: gr.update(choices=wordings(task.name), value=case["instruction"])} if task else {}),
        }  # fmt: skip

    visit_state, inputs = visit, parts["inputs"]
    measuring = button.click(
        sentences(measure), [visit, methods, tasks, n, upload], [words, missed, table, cases, *figures], api_visibility="private",
        show_progress="hidden", **COMPUTE,
    )  # fmt: skip
    stops(stop, [measuring], lambda: "Stopped.", [words])
    opened = [visit, inputs.prompt, inputs.target, inputs.task, inputs.instruction, parts["tabs"]]
    cases.select(sentences(open_case), [visit, missed], opened, api_visibility="private", show_progress="hidden")


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
    text = f"Up to **{n} edits per task**, one at a time, asked without the instruction afterwards, with bootstrap 95% intervals by subject."
    if unable:
        text += f" Left out: {', '.join(unable)}, for want of a trained editor."
    if data["skipped"]:
        first = data["skipped"][0]
        text += f" {len(data['skipped'])} rows or fields were left out; the first: row {first['row']}, {first['field']}: {first['reason']}."
    return text
