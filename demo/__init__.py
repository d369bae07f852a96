"""The browser page: draws what the engine returns, computes nothing."""

import os
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

try:
    import spaces  # noqa: F401 - on a Space, before anything touches CUDA
except ImportError:
    pass

import gradio as gr
from transformers.utils import logging

from model_zoo.progress import Progress, no_progress

from . import (
    kept_edits,
    tab_compare,
    tab_directions,
    tab_edit,
    tab_effects,
    tab_evaluate,
    tab_many,
    tab_scope,
    tab_train,
)
from .allocator import keep_little
from .door import DOOR, MOST_OF_A_FILE, MOST_WAITING, Page, logins
from .first_edit import make_first_edit
from .handlers import MOST_THREADS, QUIET
from .picker import listed
from .runtime import Runtime
from .sessions import MOST_SESSIONS
from .settings import Settings
from .tab import PageParts
from .theme import ANSWERS, STYLE, build_theme, colour_variables
from .visitor import ModelChoice, VisitorState

__all__ = ["LAUNCH", "Settings", "build", "logins"]

# The Edit tab comes first: the others use its inputs.
TABS = (
    tab_edit.TAB,
    tab_effects.TAB,
    tab_scope.TAB,
    tab_compare.TAB,
    tab_directions.TAB,
    tab_many.TAB,
    tab_evaluate.TAB,
    tab_train.TAB,
)

LAUNCH: dict[str, Any] = {
    "theme": build_theme(),
    "css": colour_variables(),
    "css_paths": [STYLE],
    "head": f"<script>{ANSWERS.read_text(encoding='utf-8')}</script>",
    "run_history": False,
    "max_file_size": MOST_OF_A_FILE,
    "max_threads": MOST_THREADS,
    "app_kwargs": DOOR,
    "state_session_capacity": MOST_SESSIONS,
    "ssr_mode": False,
    "footer_links": ["api", "settings"],
}

_HEADER = (
    '<header class="masthead"><h1>InstructEdit Studio</h1><p>Change one thing a language model says, '
    "by instruction, and see what else changes.</p></header>"
)


def build(settings: Settings | None = None, progress: Progress = no_progress) -> gr.Blocks:
    """The page for these settings. The first edit is made here, so that nobody meets an empty screen."""
    logging.disable_progress_bar()
    keep_little()
    runtime = Runtime(settings or Settings())
    choice = ModelChoice(runtime.settings.model)
    first = make_first_edit(runtime, choice, progress)
    with Page(title="InstructEdit Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(_HEADER)
        offer = kept_edits.lay_out()
        # Without an edit: callers of the API start from this value. A page gets the first edit when it loads.
        state = gr.State(VisitorState(choice))
        with gr.Tabs(elem_id="tabs") as tabs:
            parts = PageParts(runtime, state, first, tabs)
            for tab in (tab for tab in TABS if tab.in_demo or not runtime.settings.demo):
                with gr.Tab(tab.name, id=tab.id) as frame:
                    tab.build(parts, frame)
        page.load(lambda: first.state, None, state, queue=False, **QUIET)
        kept_edits.wire(page, runtime, parts, offer)
        # what was fetched since the page was built is not to be fetched any more
        page.load(lambda: gr.update(**listed(runtime, choice.model)), None, parts.inputs.model, **QUIET)
    page.told = lambda: {
        "waiting_for_the_model": runtime.slot.waiting,
        "weights": runtime.weights(),
        **runtime.counters.to_dict(),
    }
    page.queue(max_size=2 * MOST_WAITING)  # Gradio's own refusal is less clear than the door's
    return page
