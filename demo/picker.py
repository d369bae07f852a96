"""Choosing the base model and its editor, loading them in the background, and stopping that."""

from collections.abc import Iterator

import gradio as gr

from model_zoo.catalog import CATALOG, entry_for

from . import html
from .handlers import LOADING, QUIET, errors_as_messages
from .runtime import Runtime
from .visitor import ModelChoice

OWN_EDITOR = ("The model's own", "")


def model_dropdown(runtime: Runtime) -> gr.Dropdown:
    model, free = runtime.settings.model, not runtime.settings.demo
    listed = [(entry.title, name) for name, entry in CATALOG.items()]
    return gr.Dropdown(
        listed if model in CATALOG else [(model, model), *listed],
        value=model,
        label="Base model",
        elem_id="model",
        allow_custom_value=free,
        info=about(model, free),
    )


def about(model: str, free: bool = True) -> str:
    """A model's size, licence, memory and editor. `free`: any other can be typed."""
    return entry_for(model).about + (
        " · a folder or Hub id can be typed" if free and model in CATALOG else ""
    )


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


class Picker:
    """Handlers that load what was chosen. `status` is the HTML element that tells how far that is."""

    def __init__(
        self, runtime: Runtime, model: gr.Dropdown, editor: gr.Dropdown, stop: gr.Button, status: gr.HTML
    ):
        self.runtime, self.model, self.editor, self.stop, self.status = runtime, model, editor, stop, status

    def load(self, choice: ModelChoice) -> Iterator[dict]:
        """Load a choice and tell how far that is. If it fails or is stopped, the page stays as it was."""
        if self.runtime.loaded(choice):
            return
        yield {self.stop: gr.update(visible=True)}
        try:
            for text in self.runtime.opening(choice):
                yield {self.status: html.waiting(text)}
        except Exception:
            failed = html.waiting(f"{choice} could not be loaded; everything is as it was.")
            yield {self.status: failed, self.stop: gr.update(visible=False)}
            raise
        yield {self.stop: gr.update(visible=False)}

    def chosen(self, model: str, editor: str) -> Iterator[dict]:
        """A model or an editor was chosen: load it."""
        yield from self.load(ModelChoice(model, editor or ""))

    def ensure(self, model: str, editor: str) -> Iterator[dict]:
        """Before an edit: load what is chosen if it is not there yet."""
        yield {self.status: html.waiting("Making the edit…")}
        yield from self.load(ModelChoice(model, editor or ""))

    def look_here(self, model: str) -> Iterator[dict]:
        """Offer the editors for a model that are on this machine."""
        yield from self._look(model, ask_the_hub=False)

    def look_everywhere(self, model: str) -> Iterator[dict]:
        """Offer the editors for a model that are on this machine or on the Hub."""
        yield from self._look(model, ask_the_hub=True)

    def _look(self, model: str, ask_the_hub: bool) -> Iterator[dict]:
        choice = ModelChoice(model)
        yield from self.load(choice)
        others = self.runtime.editors(choice, ask_the_hub)
        info = f"{_found(len(others))}. A folder or a Hub id can be typed too."
        yield {self.editor: gr.update(choices=[OWN_EDITOR, *others], info=info)}

    def before_an_edit(self, trigger):
        """Let a trigger load what is chosen, in the queue for loading. Returns that event."""
        ensure = errors_as_messages(self.ensure)
        return trigger(ensure, [self.model, self.editor], [self.status, self.stop], **QUIET, **LOADING)
