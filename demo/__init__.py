"""The browser page: draws what the engine returns, computes nothing."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
ZERO_GPU = "SPACES_ZERO_GPU" in os.environ

try:
    import spaces  # noqa: F401 - on a Space, before anything touches CUDA
except ImportError:
    pass

import gradio as gr
import torch
from transformers.utils import logging

from model_zoo.loading import LoadOptions
from model_zoo.studio import Studio

from . import tab_directions, tab_edit, tab_evaluate, tab_scope
from .runtime import Place, Runtime, Settings, Visit
from .theme import STYLE, build_theme, colour_variables

__all__ = ["LAUNCH", "Settings", "build"]

# name, builder; a builder gets the runtime, the visitor's state and what earlier tabs returned
TABS = (("Edit", tab_edit.build), ("Scope", tab_scope.build), ("Directions", tab_directions.build), ("Evaluate", tab_evaluate.build))

LAUNCH = {
    "theme": build_theme(), "css": colour_variables(), "css_paths": [STYLE], "run_history": False, "max_file_size": "5mb", "ssr_mode": False,
    "footer_links": ["api", "settings"],
}  # fmt: skip

_HEADER = (
    '<header class="masthead"><h1>InstructEdit Studio</h1><p>Change one thing a language model says, '
    "by instruction, and see what else changes.</p></header>"
)


def build(settings: Settings | None = None) -> gr.Blocks:
    """The page for these settings. The first edit is made here, so that nobody meets an empty screen."""
    logging.disable_progress_bar()
    runtime = Runtime(settings or Settings())
    place = Place(runtime.settings.model)
    with gr.Blocks(title="InstructEdit Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(_HEADER)
        visit = gr.State(Visit(place))
        studio = _first_studio(runtime, place)
        parts: dict = {"first_visit": tab_edit.first_visit(studio, place), "reads_scopes": studio.reads_scopes}
        with gr.Tabs(elem_id="tabs") as tabs:
            parts["tabs"] = tabs
            for name, tab in TABS:
                with gr.Tab(name, id=name.lower()) as parts[name]:
                    parts |= tab(runtime, visit, parts) or {}
        # the state's default stays empty, so that callers of the API start with no edit
        page.load(lambda: parts["first"], None, visit, api_visibility="private", show_progress="hidden")
    page.queue(max_size=64)
    return page


def _first_studio(runtime: Runtime, place: Place) -> Studio:
    """The studio that makes the first edit. On ZeroGPU the main process has no GPU and its forked workers hang on OpenMP's threads:
    there that edit (a value, wherever it was made) comes from the CPU on one thread."""
    studio = runtime.studio(place)
    if not ZERO_GPU:
        return studio
    torch.set_num_threads(1)
    return Studio.open(place.model, LoadOptions("cpu"), runtime.settings.editor)
