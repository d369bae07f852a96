"""Choosing the base model and its editor, loading them in the background, and stopping that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from model_zoo.catalog import CATALOG, entry_for

from . import html
from .handlers import LOADING, QUIET, errors_as_messages, stops
from .runtime import Runtime
from .terms import TermsBlock, lay_out_terms, open_terms
from .visitor import ModelChoice

OWN_EDITOR = ("The model's own", "")
STOPPED = "Stopped; everything is as it was."


# ---- layout ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelInputs:
    """The base model, and under it how far its loading is and the terms that it may come with."""

    model: gr.Dropdown
    frame: gr.Column
    told: gr.HTML
    stop: gr.Button
    terms: TermsBlock

    @property
    def all(self) -> list:
        return [self.model, self.frame, self.told, self.stop, *self.terms.all]


def lay_out_model(runtime: Runtime) -> ModelInputs:
    model = gr.Dropdown(
        **listed(runtime, runtime.settings.model),
        value=runtime.settings.model,
        label="Base model",
        elem_id="model",
        allow_custom_value=not runtime.settings.demo,
    )
    with gr.Column(visible=False, elem_id="loading") as frame:
        told = gr.HTML(elem_id="loading-text")
        stop = gr.Button("Stop loading", size="sm", elem_id="stop-loading")
    return ModelInputs(model, frame, told, stop, lay_out_terms())


def listed(runtime: Runtime, model: str) -> dict[str, Any]:
    """What the dropdown offers as things stand, each with what has to be fetched, and words about `model`."""
    first, entries = runtime.settings.model, [(entry.label, name) for name, entry in CATALOG.items()]
    choices = entries if first in CATALOG else [(first, first), *entries]
    return {"choices": choices, "info": about(model, not runtime.settings.demo)}


def about(model: str, free: bool = True) -> str:
    """A model's size, licence, memory and editor. `free`: any other can be typed."""
    typed = " · or type a folder, GGUF file or Hub id" if free and model in CATALOG else ""
    return entry_for(model).about + typed


def editor_dropdown(runtime: Runtime) -> gr.Dropdown:
    return gr.Dropdown(
        [OWN_EDITOR],
        value="",
        label="Editor",
        elem_id="editor",
        allow_custom_value=True,
        visible=not runtime.settings.demo,
        info="Another trained editor for this model: one that was found, a folder, or a Hub id",
    )


def _found(n: int) -> str:
    if not n:
        return "No other editor was found"
    return "One other editor was found" if n == 1 else f"{n} other editors were found"


# ---- handlers ----------------------------------------------------------------------------------------------


class Picker:
    """Handlers that load what was chosen. `status` is the HTML element that tells how far an edit is."""

    def __init__(self, runtime: Runtime, inputs: ModelInputs, editor: gr.Dropdown, status: gr.HTML):
        self.runtime, self.inputs, self.editor, self.status = runtime, inputs, editor, status
        self.model, self.terms = inputs.model, inputs.terms
        self._loads: list = []

    def load(self, choice: ModelChoice) -> Iterator[dict]:
        """Load a choice and tell how far that is. If it fails or is stopped, the page stays as it was."""
        told, stop, frame = self.inputs.told, self.inputs.stop, self.inputs.frame
        if self.runtime.loaded(choice):
            yield self._ready(choice)
            return
        yield {
            frame: gr.update(visible=True),
            told: html.loading(""),
            stop: gr.update(visible=True),
            **self.terms.hidden,
        }
        try:
            for text in self.runtime.opening(choice):
                yield {told: html.loading(text)}
        except Exception:
            failed = html.loading(f"{choice} could not be loaded; everything is as it was.", busy=False)
            yield {told: failed, stop: gr.update(visible=False)}
            raise
        yield self._ready(choice)

    def _ready(self, choice: ModelChoice) -> dict:
        """What told of a loading goes; what was fetched is not offered as to be fetched any more."""
        about_model = {self.model: gr.update(**listed(self.runtime, choice.model))}
        return {self.inputs.frame: gr.update(visible=False), **self.terms.hidden, **about_model}

    def chosen(self, model: str, editor: str) -> Iterator[dict]:
        """A model or an editor was chosen: ask for the terms that are still to be accepted, or load it."""
        if entry := open_terms(self.runtime, model):
            yield {self.inputs.frame: gr.update(visible=False), **self.terms.shown(entry)}
        else:
            yield from self.load(ModelChoice(model, editor or ""))

    def agreed(self, ticked: bool, model: str, editor: str) -> Iterator[dict]:
        """The terms were accepted: note that, and go on."""
        entry = open_terms(self.runtime, model)
        if ticked and entry and entry.terms:
            entry.terms.accept()
        yield from self.chosen(model, editor)

    def ensure(self, model: str, editor: str) -> Iterator[dict]:
        """Before an edit: load what is chosen if it is not there yet."""
        if entry := open_terms(self.runtime, model):
            yield self.terms.shown(entry)
            raise ValueError(f"{entry.title} waits for its terms: accept them, or choose another base model.")
        yield from self.load(ModelChoice(model, editor or ""))
        yield {self.status: html.waiting("Making the edit…")}

    def look_here(self, model: str) -> Iterator[dict]:
        """Offer the editors that are on this machine for a model that was just loaded."""
        if self.runtime.loaded(ModelChoice(model)):
            yield from self._look(model, ask_the_hub=False)
        else:
            yield {self.editor: gr.skip()}

    def look_everywhere(self, model: str) -> Iterator[dict]:
        """Offer the editors for a model that are on this machine or on the Hub."""
        yield from self._look(model, ask_the_hub=True)

    def _look(self, model: str, ask_the_hub: bool) -> Iterator[dict]:
        choice = ModelChoice(model)
        yield from self.load(choice)
        others = self.runtime.editors(choice, ask_the_hub)
        info = f"{_found(len(others))}. A folder or a Hub id can be typed too."
        yield {self.editor: gr.update(choices=[OWN_EDITOR, *others], info=info)}

    def describe(self, model: str) -> dict:
        """Another model was chosen: words about it, and no editor of the one before."""
        return {self.editor: "", self.model: gr.update(**listed(self.runtime, model))}

    # ---- wiring --------------------------------------------------------------------------------------------

    def wire(self, state: gr.State, arrive: Callable, shows: dict, look: gr.Button) -> Callable:
        """Choosing a model or an editor, and accepting its terms, loads it; then `arrive` shows it.

        Returns what lets another trigger do the same, after it has set the two dropdowns.
        """
        chosen: list = [self.model, self.editor]
        offered: dict[str, Any] = {"inputs": self.model, "outputs": [*self.inputs.all, self.editor]}

        def opens(trigger: Callable, handler: Callable = self.chosen, first: tuple = ()):
            event = self._stoppable(trigger, handler, [*first, *chosen], self.inputs.all)
            event.success(errors_as_messages(self.look_here), **offered, **QUIET, **LOADING)
            return event.success(errors_as_messages(arrive), [state, *chosen], **shows)

        self.model.input(self.describe, self.model, chosen, **QUIET)
        for trigger in (self.model.input, self.editor.input):
            opens(trigger)
        opens(self.terms.agree.input, self.agreed, (self.terms.agree,))
        self._stoppable(look.click, self.look_everywhere, **offered)
        stopped = (html.loading(STOPPED, busy=False), gr.update(visible=False))
        stops(self.inputs.stop, self._loads, lambda: stopped, [self.inputs.told, self.inputs.stop])
        return opens

    def before_an_edit(self, trigger: Callable):
        """Let a trigger load what is chosen, in the queue for loading. Returns that event."""
        return self._stoppable(
            trigger, self.ensure, [self.model, self.editor], [*self.inputs.all, self.status]
        )

    def _stoppable(self, trigger: Callable, handler: Callable, inputs: list, outputs: list):
        """An event that loads, and that the button stops if it is there before `wire`."""
        event = trigger(errors_as_messages(handler), inputs, outputs, **QUIET, **LOADING)
        self._loads.append(event)
        return event
