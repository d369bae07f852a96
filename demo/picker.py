"""Choosing the base model and its editor: what there is, what it needs, loading it in the background, stopping that."""

from collections.abc import Iterator

import gradio as gr

from model_zoo.catalog import CATALOG, entry_for

from . import html
from .runtime import LOADING, Place, Runtime, sentences

OWN_EDITOR = ("The model's own", "")


def model_dropdown(runtime: Runtime) -> gr.Dropdown:
    model, free = runtime.settings.model, not runtime.settings.demo
    listed = [(entry.title, name) for name, entry in CATALOG.items()]
    return gr.Dropdown(
        listed if model in CATALOG else [(model, model), *listed], value=model, label="Base model", elem_id="model", allow_custom_value=free,
        info=about(model, free),
    )  # fmt: skip


def about(model: str, free: bool = True) -> str:
    """What a person needs to choose: size, licence, memory, editor."""
    return entry_for(model).about + (" · a folder or Hub id can be typed" if free and model in CATALOG else "")


def editor_dropdown(runtime: Runtime) -> gr.Dropdown:
    return gr.Dropdown(
        [OWN_EDITOR], value="", label="Editor", elem_id="editor", allow_custom_value=True, visible=not runtime.settings.demo,
        info="Another trained editor for this model: one that was found, a folder, or a Hub id",
    )  # fmt: skip


class Picker:
    """Handlers that load what was chosen. `status` is the HTML element that tells how far it is."""

    def __init__(self, runtime: Runtime, model: gr.Dropdown, editor: gr.Dropdown, stop: gr.Button, status: gr.HTML):
        self.runtime, self.model, self.editor, self.stop, self.status = runtime, model, editor, stop, status

    def load(self, place: Place) -> Iterator[dict]:
        """Load a place, telling how far it is. On an error, or when stopped, the page stays as it was and says so."""
        if self.runtime.loaded(place):
            return
        yield {self.stop: gr.update(visible=True)}
        try:
            for text in self.runtime.opening(place):
                yield {self.status: html.waiting(text)}
        except Exception:
            yield {self.status: html.waiting(f"{place} could not be loaded; everything is as it was."), self.stop: gr.update(visible=False)}
            raise
        yield {self.stop: gr.update(visible=False)}

    def ensure(self, model: str, editor: str) -> Iterator[dict]:
        """Before an edit: make sure that what is chosen is there."""
        yield {self.status: html.waiting("Making the edit…")}
        yield from self.load(Place(model, editor or ""))

    def look(self, model: str, ask_the_hub: bool) -> Iterator[dict]:
        """Offer the editors there are for the model; without a network, those that are here."""
        place = Place(model)
        yield from self.load(place)
        choices = [OWN_EDITOR, *self.runtime.editors(place, ask_the_hub)]
        found = len(choices) - 1
        words = "No other editor was found" if not found else "One other editor was found" if found == 1 else f"{found} other editors were found"
        yield {self.editor: gr.update(choices=choices, info=f"{words}. A folder or a Hub id can be typed too.")}

    def before_an_edit(self, trigger):
        """Wire a trigger so that loading comes first, in its own queue; returns the event to go on from."""
        return trigger(
            sentences(self.ensure), [self.model, self.editor], [self.status, self.stop], api_visibility="private", show_progress="hidden", **LOADING
        )
