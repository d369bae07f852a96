"""Taking the edits home: a format, a button, and the lines of code that use the file."""

import gradio as gr

from model_zoo.export import FORMATS, get_format

from .runtime import COMPUTE, Runtime, Visit, one

# clicks the hidden download link once its file is there
_CLICK = "() => document.querySelector('#download-file a, a#download-file, #download-file').click()"


def lines_of_code(runtime: Runtime, visit: Visit, name: str) -> str:
    """What to do with the file, for the visitor's base model."""
    entry = get_format(name)
    return entry.usage(runtime.studio(visit.place).backbone, "." if name == "delta" else f"edited-{name}")


def build(runtime: Runtime, visit: gr.State) -> gr.Button:
    """Lay out and wire; returns the button, which the edits on show enable."""
    with gr.Accordion("Take the edits home", open=False, elem_id="take-home"):
        formats = gr.Radio([(f.title, f.name) for f in FORMATS.values()], value="lora", label="As", elem_id="format", info=FORMATS["lora"].summary)
        code = gr.Code(language="python", label="How to use it", interactive=False, elem_id="usage", lines=6)
        button = gr.Button("Download edits", elem_id="download")
        file = gr.DownloadButton("", elem_id="download-file")
    shown = {"api_visibility": "private", "show_progress": "hidden"}

    def describe(visit: Visit, name: str):
        # a place that had to go is not loaded again for this
        code = gr.update(value=lines_of_code(runtime, visit, name)) if runtime.loaded(visit.place) else gr.skip()
        return code, gr.update(info=get_format(name).summary)

    formats.input(one(describe), [visit, formats], [code, formats], **shown)
    visit.change(one(describe), [visit, formats], [code, formats], **shown)
    # the file is made on the click; a DownloadButton returned from its own click would want a second one
    made = button.click(one(runtime.export_file), [visit, formats], file, api_visibility="private", show_progress_on=button, **COMPUTE)
    made.success(None, js=_CLICK)
    code.value = lines_of_code(runtime, Visit(), "lora") if runtime.settings.model == Visit().place.model else ""
    return button
