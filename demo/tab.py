"""What a tab is, and what it finds on the page.

A new tab is one file with a `TAB`, and one line in demo/__init__.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import gradio as gr

from .edit_inputs import EditInputs
from .first_edit import FirstEdit
from .hyper_controls import HyperControls
from .runtime import Runtime
from .visitor import VisitorState


@dataclass
class PageParts:
    """The parts of the page that tabs share. The Edit tab is built first and sets the last six."""

    runtime: Runtime
    state: gr.State
    first: FirstEdit
    tabs: gr.Tabs
    inputs: EditInputs = field(init=False)
    hyper: HyperControls = field(init=False)  # what is set of the methods' hyperparameters
    opens_model: Callable = field(init=False)  # see Picker.wire
    redraws: Callable = field(init=False)  # has an event draw the visitor's edits in the Edit tab
    scope_example: gr.Button = field(init=False)  # the Edit tab's example that opens the Scope tab
    looks_around: gr.Button = field(init=False)  # the Edit tab's button that opens the Side effects tab

    @property
    def opened(self) -> list:
        """The outputs of a handler that opens an edit in the Edit tab."""
        return [self.state, *self.inputs.text, self.tabs]

    def open_edit(self, state: VisitorState, values: dict) -> dict:
        """The update that shows the Edit tab with these values in its inputs."""
        return {self.state: state, **values, self.tabs: gr.Tabs(selected="edit")}


@dataclass(frozen=True)
class Tab:
    """`build` lays the tab out and wires its handlers. It is called inside the tab's gr.Tab, its frame. A
    public demo has the tabs that are `in_demo`.
    """

    name: str
    build: Callable[[PageParts, gr.Tab], None]
    in_demo: bool = True

    @property
    def id(self) -> str:
        """By which the page's tabs select it."""
        return self.name.lower().replace(" ", "-")
