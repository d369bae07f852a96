"""The Scope tab: one edit, two instructions side by side, and a map of what moved under each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from model_zoo import editors
from model_zoo.catalog import CatalogEntry
from model_zoo.request import EditRequest
from model_zoo.scopes import SCOPES

from . import html
from .handlers import COMPUTE, PRIVATE, QUIET, errors_as_messages
from .plots import ripple_figure
from .runtime import Runtime
from .tab import PageParts, Tab
from .visitor import ModelChoice, VisitorState

SIDES = (("left", "subject"), ("right", "category"))  # with the scope that each starts from
OFFERED = 10  # training wordings to choose from
_READ_ME = (
    "The same edit, told in two ways how far it should reach. The rings are prompts around it, from the "
    "sentence itself in the middle to unrelated ones outside; a filled mark moved."
)
_UNREAD = "What edits here was not trained to read how far an edit should reach: its two sides may be alike."
_FEW = "What lies around this model's facts is not known here: the second and the third ring stay empty."
_NEITHER = (
    "This tab needs an editor that reads how far an edit should reach, and prompts of every kind around the "
    "base model's facts. {} has neither{}."
)


def first_wording(scope: str) -> str:
    return SCOPES[scope].first_readings[0]


def _offered(scope: str) -> list[str]:
    """One reading of some training wordings, and the unseen ones: enough to choose from."""
    return [*SCOPES[scope].first_readings[:OFFERED], *SCOPES[scope].unseen]


@dataclass(frozen=True)
class Side:
    """One of the two instructions, and what moved under it."""

    dial: gr.Radio
    wording: gr.Dropdown
    ripple: gr.Plot
    reach: gr.HTML


@dataclass(frozen=True)
class Note:
    """What is told of the base model, and the button that goes to one that this tab works on.

    `works`: that one, where there is one.
    """

    text: gr.HTML
    leave: gr.Button
    works: CatalogEntry | None


class ScopeTab:
    """The tab's handlers. `frame` holds everything that shows an edit."""

    def __init__(self, runtime: Runtime, note: Note, frame: gr.Column, sides: list[Side]):
        self.runtime, self.note, self.frame, self.sides = runtime, note, frame, sides

    def compare(self, state: VisitorState, prompt: str, target: str, *instructions: str) -> Iterator[dict]:
        """Make the edit under each instruction, and draw its probes as they are asked."""
        studio = self.runtime.studio(state.choice)
        reads, knows = studio.reads_scopes, studio.source.has_scopes
        yield self._told(state.choice, reads, knows)
        if not (reads or knows):
            return
        for reached in self.runtime.compare_scopes(state.choice, prompt, target, instructions):
            update: dict = {}
            for i, side in enumerate(self.sides):
                update |= {side.ripple: ripple_figure(reached, i), side.reach: html.reach(reached, i)}
            yield update

    def _told(self, choice: ModelChoice, reads: bool, knows: bool) -> dict:
        """What the sides can show on a model; where that is nothing, they make room for the way out."""
        works = f"; {self.note.works.title} has both" if self.note.works else ""
        text = _NEITHER.format(choice, works) if not (reads or knows) else _FEW if reads else _UNREAD
        return {
            self.note.text: "" if reads and knows else html.note(text),
            self.note.leave: gr.update(visible=not (reads or knows) and self.note.works is not None),
            self.frame: gr.update(visible=reads or knows),
        }


def _lay_out_note() -> Note:
    works = editors.for_scopes()
    name = f"Open {works.title}" if works else ""
    text = gr.HTML(elem_id="scope-note")
    return Note(text, gr.Button(name, visible=False, elem_id="scope-leave"), works)


def _lay_out_edit(first: EditRequest) -> tuple[gr.Textbox, gr.Textbox, gr.Button]:
    with gr.Row(elem_id="scope-edit"):
        prompt = gr.Textbox(first.prompt, label="Prompt", elem_id="scope-prompt", max_lines=2, scale=4)
        target = gr.Textbox(first.target, label="Make it say", elem_id="scope-target", max_lines=2, scale=2)
        button = gr.Button("Compare", variant="primary", elem_id="scope-compare", scale=1, min_width=110)
    return prompt, target, button


def _lay_out_side(name: str, scope: str) -> Side:
    with gr.Column(min_width=320, elem_id=f"scope-{name}"):
        scopes = [(s.title, s.name) for s in SCOPES.values()]
        dial = gr.Radio(scopes, value=scope, label="How far", elem_id=f"dial-{name}")
        wording = gr.Dropdown(
            _offered(scope),
            value=first_wording(scope),
            label="Instruction",
            allow_custom_value=True,
            elem_id=f"wording-{name}",
        )
        ripple = gr.Plot(show_label=False, elem_id=f"ripple-{name}", container=False)
        reach = gr.HTML(elem_id=f"reach-{name}")
    return Side(dial, wording, ripple, reach)


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out the tab. Its maps are drawn when it is opened, and whenever the edit or a dial changes."""
    gr.Markdown(_READ_ME, elem_id="scope-words")
    note = _lay_out_note()
    with gr.Column(elem_id="scope-frame") as whole:
        prompt, target, button = _lay_out_edit(parts.first.request)
        with gr.Row(elem_id="scope-sides"):
            sides = [_lay_out_side(name, scope) for name, scope in SIDES]
    tab = ScopeTab(parts.runtime, note, whole, sides)
    compares: dict[str, Any] = {
        "inputs": [parts.state, prompt, target, *(side.wording for side in sides)],
        "outputs": [
            note.text,
            note.leave,
            whole,
            *(side.ripple for side in sides),
            *(side.reach for side in sides),
        ],
        "trigger_mode": "always_last",
        **QUIET,
        **COMPUTE,
    }
    for side in sides:
        _wire_dial(side).then(errors_as_messages(tab.compare), **compares)
    first = parts.first.request

    def open_example():
        return gr.Tabs(selected="scope"), first.prompt, first.target

    opened = parts.scope_example.click(open_example, None, [parts.tabs, prompt, target], **PRIVATE)
    triggers: list[Callable] = [button.click, prompt.submit, target.submit, opened.then, frame.select]
    if note.works:
        triggers.append(_wire_leave(parts, note, note.works.name).then)
    for trigger in (*triggers, *(side.wording.input for side in sides)):
        trigger(errors_as_messages(tab.compare), **compares)


def _wire_dial(side: Side):
    """Turning the dial words the instruction. Returns that event."""

    def turned(scope: str):
        return gr.update(choices=_offered(scope), value=first_wording(scope))

    return side.dial.input(turned, side.dial, side.wording, **QUIET)


def _wire_leave(parts: PageParts, note: Note, model: str):
    """The button chooses a model that this tab works on. Returns the event after which it is there."""

    def leave():
        return html.note(f"Opening {model}…"), gr.update(visible=False), model, ""

    outputs = [note.text, note.leave, parts.inputs.model, parts.inputs.editor]
    return parts.opens_model(note.leave.click(leave, None, outputs, **QUIET).then)


TAB = Tab("Scope", build)
