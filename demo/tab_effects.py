"""The Side effects tab: the edit on show, and everything that it does beside its own prompt."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from model_zoo.inspecting.figures import FIGURES, figure
from model_zoo.inspecting.findings import (
    Consequences,
    EditedBack,
    Finding,
    Knowledge,
    Layers,
    NearestEdits,
    NeutralText,
    Strengths,
    Traced,
)
from model_zoo.inspecting.fragments import lights, section
from model_zoo.session import Edit

from . import html
from .handlers import ANEW, LONG, PRIVATE, QUIET, errors_as_messages, stops
from .tab import PageParts, Tab
from .visitor import VisitorState

_ABOUT = (
    "The edit on show in the Edit tab, with all others that are on: which facts the model still knows, how "
    "running text reads, whether the edit can be taken back, where inside the model it happens, and how "
    "edits fared that point the same way."
)
_NOTHING = "No edit is on show that is switched on: make one in the Edit tab, or tick it there."
# what stands side by side, row by row
ROWS = (
    (Knowledge,),
    (NeutralText, Consequences),
    (EditedBack,),
    (Strengths, Layers),
    (Traced,),
    (NearestEdits,),
)
DRAWN = tuple(kind for row in ROWS for kind in row)


@dataclass(frozen=True)
class Outputs:
    """What findings are drawn into: words and tables of every kind, figures of some."""

    words: gr.HTML
    lights: gr.HTML
    sections: dict[type, gr.HTML]
    figures: dict[type, gr.Plot]
    gentler: gr.Button  # takes the strength that its name tells
    strength: gr.State

    @property
    def all(self) -> list:
        shown = (*self.sections.values(), *self.figures.values())
        return [self.words, self.lights, *shown, self.gentler, self.strength]


class EffectsTab:
    """The tab's handlers."""

    def __init__(self, parts: PageParts, outputs: Outputs):
        self.runtime, self.out = parts.runtime, outputs

    def inspect(self, state: VisitorState) -> Iterator[dict]:
        """The findings about the edit on show, as they come."""
        edit = state.shown
        if edit is None:
            raise ValueError(_NOTHING)
        yield {**self._emptied(), self.out.words: html.note(f"Looking around “{edit.label}”…")}
        found: dict[type, Finding] = {}
        for finding in self.runtime.inspect(state.choice, edit, state.session):
            found[type(finding)] = finding
            ordered = [found[kind] for kind in DRAWN if kind in found]
            yield {self.out.lights: lights(ordered), **self._drawn(finding)}
            if isinstance(finding, Strengths):
                yield self._offered(finding, edit)
        yield {self.out.words: html.note(self._told(edit, state))}

    def _offered(self, found: Strengths, edit: Edit) -> dict:
        """The update that offers the gentlest strength at which the edit holds, where it has another."""
        gentle = found.gentlest
        if gentle is None or gentle.strength == edit.strength:
            return {self.out.gentler: gr.update(visible=False)}
        name = f"Make it at strength {gentle.strength:g}"
        return {self.out.gentler: gr.update(value=name, visible=True), self.out.strength: gentle.strength}

    def take(self, state: VisitorState, strength: float) -> tuple:
        """The edit on show at another strength, in the Edit tab."""
        edit = state.shown
        if edit is None:
            raise ValueError(_NOTHING)
        session = state.session.set_strength(state.session.edits.index(edit), strength)
        return state.with_session(session), gr.Tabs(selected="edit")

    def _told(self, edit: Edit, state: VisitorState) -> str:
        others = len(state.session.active) - 1
        beside = f", and {others} more that {'is' if others == 1 else 'are'} on" if others else ""
        return f"Around “{edit.label}”{beside}."

    def _emptied(self) -> dict:
        return {
            self.out.lights: "",
            self.out.gentler: gr.update(visible=False),
            **{part: "" for part in self.out.sections.values()},
            **{plot: gr.update(value=None, visible=False) for plot in self.out.figures.values()},
        }

    def _drawn(self, finding: Finding) -> dict:
        """The update that draws one finding."""
        kind = type(finding)
        update: dict[Any, Any] = {self.out.sections[kind]: section(finding)}
        if drawn := figure(finding):
            update[self.out.figures[kind]] = gr.update(value=go.Figure(drawn), visible=True)
        return update


def _lay_out() -> Outputs:
    words, cards = gr.HTML(html.note(_ABOUT), elem_id="effects-words"), gr.HTML(elem_id="effects-lights")
    sections: dict[type, gr.HTML] = {}
    figures: dict[type, gr.Plot] = {}
    for row in ROWS:
        with gr.Row(elem_classes=["findings"]):
            for kind in row:
                with gr.Column(min_width=320):
                    name = f"effects-{kind.__name__.lower()}"
                    sections[kind] = gr.HTML(elem_id=name)
                    if kind in FIGURES:
                        look: dict[str, Any] = {"show_label": False, "container": False, "visible": False}
                        figures[kind] = gr.Plot(elem_id=f"{name}-plot", **look)
                    if kind is Strengths:
                        gentler = gr.Button("Take it", visible=False, elem_id="effects-gentler")
    return Outputs(words, cards, sections, figures, gentler, gr.State(1.0))


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out and wire the tab."""
    with gr.Row(elem_id="effects-actions"):
        look = gr.Button("Look at everything else", variant="primary", elem_id="effects", scale=5)
        stop = gr.Button("Stop", elem_id="effects-stop", scale=1, min_width=90)
    outputs = _lay_out()
    tab = EffectsTab(parts, outputs)
    looks: dict[str, Any] = {"inputs": [parts.state], "outputs": outputs.all, **ANEW, **QUIET, **LONG}
    looked = look.click(errors_as_messages(tab.inspect), **looks)
    there = parts.looks_around.click(lambda: gr.Tabs(selected=TAB.id), None, parts.tabs, **PRIVATE)
    opened = there.then(errors_as_messages(tab.inspect), **looks)
    taken = outputs.gentler.click(
        errors_as_messages(tab.take), [parts.state, outputs.strength], [parts.state, parts.tabs], **QUIET
    )
    parts.redraws(taken.success)
    stops(stop, [looked, opened], lambda: html.note("Stopped. What was found so far stays."), [outputs.words])


TAB = Tab("Side effects", build)
