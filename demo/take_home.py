"""Taking the edits home: a format, a button, and the lines of code that use the file."""

import gradio as gr

from model_zoo.export import FORMATS, get_format

from .handlers import COMPUTE, PRIVATE, QUIET, errors_as_messages
from .runtime import Runtime
from .visitor import VisitorState

FIRST_FORMAT = "lora"
# clicks the hidden download link once its file is there
_CLICK = "() => document.querySelector('#download-file a, a#download-file, #download-file').click()"


def lines_of_code(runtime: Runtime, state: VisitorState, name: str) -> str:
    """What to do with the file, for the visitor's base model."""
    entry = get_format(name)
    return entry.usage(runtime.studio(state.choice).backbone, "." if name == "delta" else f"edited-{name}")


def build(runtime: Runtime, state: gr.State) -> gr.Button:
    """Lay out and wire. Returns the download button, which is enabled while edits are on."""
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
    new = VisitorState()
    if runtime.settings.model == new.choice.model:
        code.value = lines_of_code(runtime, new, FIRST_FORMAT)
    return button
