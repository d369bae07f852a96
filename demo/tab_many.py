"""The Many edits tab: a file of edits into one model; what was read is shown before anything is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
import plotly.graph_objects as go

from model_zoo.benchmarks import FILE_TYPES, read
from model_zoo.evaluation.scoring import Case
from model_zoo.many import AfterAll, EditAfterAll, FilePlan, Keep, Order, SoFar, curve, planned
from model_zoo.methods import METHODS
from model_zoo.session import EditSession

from . import html
from .handlers import LONG, QUIET, errors_as_messages, stops
from .html_many import refused, what_was_read
from .plots import held_figure
from .runtime import MOST_ROWS
from .tab import PageParts, Tab
from .visitor import VisitorState

MOST, MOST_IN_DEMO = 1000, 10  # edits at once
HEAD = ["", "prompt", "target", "before", "after all", "other wordings follow", "others stay"]
_EMPTY = html.note(
    "Drop a file of edits: at least a prompt and a target in every row. CSV, JSON and JSON lines in every "
    "shape that circulates are read; what is read is shown here first."
)
_KEEP = [("the last of them", "last"), ("the first of them", "first"), ("those that I choose", "chosen")]
_ORDERS: list[tuple[str, Order]] = [
    ("all on the base model, then combined", "jointly"),
    ("one after another, each on what the last one left", "one-after-another"),
]


@dataclass(frozen=True)
class Outputs:
    read: gr.HTML
    keep: gr.Radio
    chosen: gr.CheckboxGroup
    make: gr.Button
    words: gr.Markdown
    curve: gr.Plot
    table: gr.Dataframe


class ManyTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, outputs: Outputs, most: int):
        self.parts, self.runtime, self.out, self.most = parts, parts.runtime, outputs, most

    def look(self, state: VisitorState, file: str | None, n: int, chat: bool) -> Iterator[dict]:
        """Say what is read of a file, and what conflicts, before anything is made."""
        if not file:
            yield self._idle(_EMPTY)
            return
        try:
            plan = self._planned(state, file, n, chat)
        except ValueError as error:
            yield self._idle(refused(str(error)))
            return
        disputed = [case for same in plan.disputed for case in same]
        last = {case.index for case in plan.kept("last")}
        yield {
            self.out.read: what_was_read(plan),
            self.out.keep: gr.update(value="last", visible=bool(disputed)),
            self.out.chosen: gr.update(
                choices=[(_named(case), case.index) for case in disputed],
                value=[case.index for case in disputed if case.index in last],
                visible=False,
            ),
            self.out.make: gr.update(interactive=True),
        }

    def look_again(
        self, state: VisitorState, file: str | None, n: int, chat: bool, keep: str, chosen: list[int]
    ) -> Iterator[dict]:
        """The same when the tab is opened again, with what was chosen before."""
        if not file:  # one that is on its way is told by `look`, and must not be overwritten
            yield {self.out.read: gr.skip()}
            return
        for update in self.look(state, file, n, chat):
            if self.out.chosen in update and keep == "chosen":
                update[self.out.keep]["value"] = keep
                update[self.out.chosen] |= {"value": chosen, "visible": True}
            yield update

    def make(
        self,
        state: VisitorState,
        file: str | None,
        n: int,
        chat: bool,
        keep: Keep | Literal["chosen"],
        chosen: list[int],
        method: str,
        order: Order,
    ) -> Iterator[dict]:
        """Make all edits on top of the visitor's own; the table fills as they are judged."""
        if not file:
            raise ValueError("Drop a file of edits first.")
        plan = self._planned(state, file, n, chat)
        kept = plan.kept(chosen) if keep == "chosen" else plan.kept(keep)
        if not kept:
            raise ValueError("No edit is left to make; tick at least one.")
        name = method or self.runtime.studio(state.choice).default_method()
        yield {self.out.words: f"Making {len(kept)} edits…"}
        for event in self.runtime.apply_all(state.choice, kept, name, state.session, order):
            yield {self.parts.state: _showing_the_last(state, event.session, kept), **self._drawn(event)}

    def _planned(self, state: VisitorState, file: str, n: int, chat: bool) -> FilePlan:
        studio = self.runtime.studio(state.choice)
        return planned(studio, read(file, most=MOST_ROWS), min(int(n), self.most), chat)

    def _idle(self, text: str) -> dict:
        return {
            self.out.read: text,
            self.out.keep: gr.update(visible=False),
            self.out.chosen: gr.update(visible=False),
            self.out.make: gr.update(interactive=False),
        }

    def _drawn(self, event: SoFar | AfterAll) -> dict:
        edits = event.edits
        held = sum(edit.held for edit in edits)
        if isinstance(event, AfterAll):
            share = f"**{held} of {len(edits)} edits hold** after all of them ({event.seconds:.0f} s). "
            words = share + "They are in the list of the Edit tab: ask, switch off, undo, take home."
        elif event.stage == "editing":
            words = f"Made {event.done} of {event.total} edits, about {event.left:.0f} s left…"
        else:
            words = f"Judged {event.done} of {event.total}: {held} hold; about {event.left:.0f} s left…"
        drawn: dict[Any, Any] = {self.out.words: words}
        if edits:
            rows = [_row(edit) for edit in edits]
            drawn |= {
                self.out.table: gr.update(value=rows, visible=True),
                self.out.curve: gr.update(value=go.Figure(held_figure(curve(edits))), visible=True),
            }
        return drawn


def _showing_the_last(state: VisitorState, session: EditSession, cases: Sequence[Case]) -> VisitorState:
    """The state with a session that edits of a file have joined, the last of them on show with its record."""
    request = session.edits[-1].request
    record = next((case.record for case in cases if case.record.request.prompt == request.prompt), None)
    return state.with_session(session)._replace(request=request, record=record, language="")


def _named(case: Case) -> str:
    """An edit among others that contradict it, by its number in the file."""
    return f"{case.index + 1}: {case.request.prompt} → {case.request.target}"


def _row(edit: EditAfterAll) -> list[str]:
    def of(part: int, whole: int) -> str:
        return f"{part} of {whole}" if whole else ""

    sign = "holds" if edit.held else "does not"
    return [sign, edit.prompt, edit.target, edit.before, edit.after, of(*edit.follows), of(*edit.stays)]


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    most = MOST_IN_DEMO if parts.runtime.settings.demo else MOST
    with gr.Row(elem_id="many-controls"):
        with gr.Column(scale=2, min_width=300):
            file = gr.File(
                label="Your file of edits", file_types=list(FILE_TYPES), elem_id="many-file", height=140
            )
        with gr.Column(scale=1, min_width=260):
            choices = [("the model's own", ""), *((m.pretty_name, m.name) for m in METHODS.values())]
            method = gr.Dropdown(choices, value="", label="Method", elem_id="many-method")
            order = gr.Dropdown(_ORDERS, value="jointly", label="Made", elem_id="many-order")
            n = gr.Slider(1, most, value=min(100, most), step=1, label="At most so many", elem_id="many-n")
    shown = gr.HTML(_EMPTY, elem_id="many-read")
    keep = gr.Radio(
        _KEEP,
        value="last",
        label="Of two that contradict each other keep",
        visible=False,
        elem_id="many-keep",
    )
    chosen = gr.CheckboxGroup(
        label="Of each fact the edit that is made", visible=False, elem_id="many-chosen", type="value"
    )
    with gr.Row():
        make = gr.Button("Make all edits", variant="primary", elem_id="many-make", scale=5, interactive=False)
        stop = gr.Button("Stop", elem_id="many-stop", scale=1, min_width=90)
    words = gr.Markdown("", elem_id="many-words")
    plot = gr.Plot(show_label=False, container=False, visible=False, elem_id="many-curve")
    table = gr.Dataframe(
        headers=HEAD,
        interactive=False,
        visible=False,
        wrap=True,
        elem_id="many-table",
        column_widths=["90px", "24%", "12%", "20%", "20%", "10%", "10%"],
    )
    tab = ManyTab(parts, Outputs(shown, keep, chosen, make, words, plot, table), most)
    asked = [parts.state, file, n, parts.inputs.chat]
    look, looked = errors_as_messages(tab.look), [shown, keep, chosen, make]
    for event in (file.change, n.change):
        event(look, asked, looked, trigger_mode="always_last", **QUIET)
    # another model may read a file otherwise; what was chosen of its conflicts stays
    frame.select(errors_as_messages(tab.look_again), [*asked, keep, chosen], looked, **QUIET)
    keep.input(lambda kept: gr.update(visible=kept == "chosen"), keep, chosen, **QUIET)
    made = make.click(
        errors_as_messages(tab.make),
        [*asked, keep, chosen, method, order],
        [parts.state, words, plot, table],
        **QUIET,
        **LONG,
    )
    stops(stop, [made], lambda: "Stopped. The edits made so far are kept.", [words])
    for event in (made.success, stop.click):
        parts.redraws(event)


TAB = Tab("Many edits", build)
