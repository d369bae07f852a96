"""Taking the edits home: a format, a button, the lines of code that use the file; sessions kept for later."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from model_zoo.export import FORMATS, get_format

from .handlers import COMPUTE, PRIVATE, QUIET, errors_as_messages
from .runtime import Runtime
from .visitor import VisitorState

FIRST_FORMAT = "lora"
_KEPT = (
    '<p class="source">Or keep all edits with their history, to go on with later: here, or by --session on '
    "the command line.</p>"
)
# clicks the hidden download link once its file is there
_CLICK = "() => document.querySelector('#download-file a, a#download-file, #download-file').click()"


def lines_of_code(runtime: Runtime, state: VisitorState, name: str) -> str:
    """What to do with the file, for the visitor's base model."""
    entry = get_format(name)
    return entry.usage(runtime.studio(state.choice).backbone, "." if name == "delta" else f"edited-{name}")


@dataclass(frozen=True)
class TakeHome:
    """`download` is enabled while edits are on; `opened` is the event after which a session is another."""

    download: gr.Button
    opened: Callable


def build(runtime: Runtime, state: gr.State) -> TakeHome:
    """Lay out and wire."""
    with gr.Accordion("Take the edits home", open=False, elem_id="take-home"):
        formats = gr.Radio(
            [(f.title, f.name) for f in FORMATS.values()],
            value=FIRST_FORMAT,
            label="As",
            elem_id="format",
            info=FORMATS[FIRST_FORMAT].summary,
        )
        code = gr.Code(language="python", label="How to use it", interactive=False, elem_id="usage", lines=6)
        button = gr.Button("Download edits", elem_id="download")
        file = gr.DownloadButton("", elem_id="download-file")
        gr.HTML(_KEPT)
        with gr.Row():
            keep = gr.Button("Save the session", elem_id="save-session")
            go_on = gr.UploadButton(
                "Open a session", file_types=[".zip", ".safetensors"], elem_id="open-session"
            )

    def describe(state: VisitorState, name: str):
        # a model that was dropped is not loaded again for this
        loaded = runtime.loaded(state.choice)
        lines = gr.update(value=lines_of_code(runtime, state, name)) if loaded else gr.skip()
        return lines, gr.update(info=get_format(name).summary)

    formats.input(errors_as_messages(describe), [state, formats], [code, formats], **QUIET)
    state.change(errors_as_messages(describe), [state, formats], [code, formats], **QUIET)
    # Two steps: a DownloadButton that got its file by a click would want a second click.
    export = errors_as_messages(runtime.export_file)
    made = button.click(export, [state, formats], file, show_progress_on=button, **PRIVATE, **COMPUTE)
    made.success(None, js=_CLICK)
    kept = keep.click(
        errors_as_messages(runtime.session_file), [state], file, show_progress_on=keep, **PRIVATE, **COMPUTE
    )
    kept.success(None, js=_CLICK)
    opened = go_on.upload(errors_as_messages(runtime.open_session), [state, go_on], state, **QUIET, **COMPUTE)
    new = VisitorState()
    if runtime.settings.model == new.choice.model:
        code.value = lines_of_code(runtime, new, FIRST_FORMAT)
    return TakeHome(button, opened.success)
