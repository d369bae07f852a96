"""The block under the base model: terms of use that a person accepts before the weights are fetched."""

from dataclasses import dataclass

import gradio as gr

from model_zoo.catalog import CatalogEntry, entry_for

from . import html
from .runtime import Runtime


@dataclass(frozen=True)
class TermsBlock:
    """`agree` is ticked by who has read and accepts them."""

    frame: gr.Column
    text: gr.HTML
    agree: gr.Checkbox

    @property
    def all(self) -> list:
        return [self.frame, self.text, self.agree]

    @property
    def hidden(self) -> dict:
        """The update that takes the block away."""
        return {self.frame: gr.update(visible=False)}

    def shown(self, entry: CatalogEntry) -> dict:
        """The update that asks for an entry's terms."""
        if entry.terms is None:
            return self.hidden
        label = f"I have read and accept the {entry.terms.title}"
        return {
            self.frame: gr.update(visible=True),
            self.text: html.terms(entry.title, entry.terms.title, entry.terms.url),
            self.agree: gr.update(label=label, value=False),
        }


def lay_out_terms() -> TermsBlock:
    with gr.Column(visible=False, elem_id="terms") as frame:
        text = gr.HTML(elem_id="terms-text")
        agree = gr.Checkbox(False, label="I have read and accept the terms", elem_id="agree", container=False)
    return TermsBlock(frame, text, agree)


def open_terms(runtime: Runtime, model: str) -> CatalogEntry | None:
    """The entry of a model whose terms this visitor has to accept first. A public demo's visitors cannot:
    there the runtime refuses the model.
    """
    entry = entry_for(model)
    return entry if entry.terms and not runtime.settings.demo else None
