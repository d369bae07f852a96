"""The Compare tab: the edit of the Edit tab made by several methods, each on the base model, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from model_zoo.comparing import Compared, requests_of, write_table
from model_zoo.methods import METHODS

from . import html
from .handlers import ANEW, LONG, QUIET, errors_as_messages, stops
from .html_compare import compared
from .tab import PageParts, Tab
from .visitor import VisitorState

# ticked when the page opens: one of each kind, the quick ones
FIRST = ("instructedit", "ft-l", "rome", "grace", "ike")
MOST_IN_DEMO = 5  # methods at once
_ABOUT = (
    "The edit in the Edit tab's fields, made by each method on the base model, with what is set there under "
    "More settings. For methods on a file of edits, with intervals, see the Evaluate tab."
)


@dataclass(frozen=True)
class Outputs:
    words: gr.Markdown
    table: gr.HTML
    file: gr.DownloadButton


class CompareTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, outputs: Outputs):
        self.parts, self.runtime, self.out = parts, parts.runtime, outputs

    def compare(
        self,
        state: VisitorState,
        methods: list[str],
        task: str,
        instruction: str,
        prompt: str,
        target: str,
        subject: str,
        chat: bool,
        with_list: bool,
        *hyper: Any,
    ) -> Iterator[dict]:
        """One row per method, as they come."""
        if not methods:
            raise ValueError("Choose at least one method.")
        if self.runtime.settings.demo and len(methods) > MOST_IN_DEMO:
            raise ValueError(f"This public demo compares {MOST_IN_DEMO} methods at once; untick some.")
        methods = [name for name in METHODS if name in methods]  # in this order, whatever was ticked first
        studio = self.runtime.studio(state.choice)
        request = studio.request(task, prompt, target, instruction, subject=subject, chat=chat)
        chosen = {name: self.parts.hyper.of(name, hyper) for name in methods}
        others = requests_of(state.session) if with_list else []
        rows: list[Compared] = []
        yield {
            self.out.words: self._waiting(methods, 0),
            self.out.table: compared(request, rows),
            self.out.file: gr.update(visible=False),  # the table of another edit
        }
        for row in self.runtime.compare(state.choice, request, methods, chosen, others):
            rows.append(row)
            yield {
                self.out.words: self._waiting(methods, len(rows)),
                self.out.table: compared(request, rows),
            }
        held = sum(row.held for row in rows)
        yield {
            self.out.words: f"By **{held} of {len(rows)} methods** the edit holds at its own prompt.",
            self.out.file: gr.update(
                value=str(write_table(rows, self.runtime.new_folder() / "compared.csv")), visible=True
            ),
        }

    def _waiting(self, methods: list[str], done: int) -> str:
        """What is being done; the first time a method may have to measure the base model."""
        return f"{METHODS[methods[done]].pretty_name}…" if done < len(methods) else ""


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    inputs = parts.inputs
    gr.HTML(html.note(_ABOUT))
    methods = gr.CheckboxGroup(
        [(m.pretty_name, m.name) for m in METHODS.values()],
        value=list(FIRST),
        label="Methods",
        elem_id="compare-methods",
        info="Some measure the base model's keys the first time, which takes a while on a large one",
    )
    with_list = gr.Checkbox(
        False,
        label="Together with the edits of my list",
        elem_id="compare-list",
        container=False,
        info="Every method makes all edits that are on in the Edit tab, and this one, in one model",
    )
    with gr.Row():
        compare = gr.Button("Compare", variant="primary", elem_id="compare", scale=5)
        stop = gr.Button("Stop", elem_id="compare-stop", scale=1, min_width=90)
    words = gr.Markdown("", elem_id="compare-words")
    table = gr.HTML(elem_id="compare-table")
    file = gr.DownloadButton("Download the table", visible=False, elem_id="compare-file", size="sm")
    tab = CompareTab(parts, Outputs(words, table, file))
    made = compare.click(
        errors_as_messages(tab.compare),
        [
            parts.state,
            methods,
            *inputs.text,
            inputs.subject,
            inputs.chat,
            with_list,
            *parts.hyper.components,
        ],
        [words, table, file],
        **ANEW,
        **QUIET,
        **LONG,
    )
    stops(stop, [made], lambda: "Stopped. What came so far stays.", [words])


TAB = Tab("Compare", build)
