"""Edits kept as text in the visitor's own browser: after a reload, a restart of the server or a session that
made room for others they are offered back, and made again on request.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_zoo.evaluation.scoring import Case
from model_zoo.many import AfterAll
from model_zoo.records import Record
from model_zoo.session import Edit, EditSession

from . import html
from .arguments import MOST_CHARACTERS
from .handlers import LONG, QUIET, errors_as_messages
from .runtime import Runtime
from .tab import PageParts
from .visitor import ModelChoice, VisitorState

MOST = 200  # edits kept, the last ones
SHOWN = 5  # of them by name
# The browser's copy is for its owner alone to read, and must outlive this process: no secret is asked for.
_PLACE: dict[str, Any] = {"storage_key": "instructedit-edits", "secret": "instructedit"}


class KeptEdit(BaseModel):
    """One edit as text."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field(max_length=MOST_CHARACTERS)
    target: str = Field(max_length=MOST_CHARACTERS)
    task: str = Field(max_length=100)
    instruction: str | None = Field(None, max_length=MOST_CHARACTERS)
    subject: str | None = Field(None, max_length=MOST_CHARACTERS)
    chat: bool = False
    method: str = Field(max_length=100)
    strength: float = 1.0
    on: bool = True


class Kept(BaseModel):
    """What a browser keeps: the choice of model, and the edits made with it."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(max_length=500)
    editor: str = Field("", max_length=500)
    edits: list[KeptEdit] = Field(max_length=MOST)


def as_text(state: VisitorState) -> dict | None:
    """What a browser keeps of a visitor's edits; None where there are none."""
    edits = state.session.edits[-MOST:]
    if not edits:
        return None
    texts = [_as_text(edit) for edit in edits if not edit.more]
    return Kept(model=state.choice.model, editor=state.choice.editor, edits=texts).model_dump()


def _as_text(edit: Edit) -> KeptEdit:
    own = edit.request.to_dict()
    return KeptEdit.model_validate({**own, "method": edit.method, "strength": edit.strength, "on": edit.on})


def read(value: Any) -> Kept:
    """What a browser gave back. ValueError where somebody changed it."""
    try:
        return Kept.model_validate(value)
    except ValidationError as error:
        raise ValueError("The edits that this browser kept cannot be read; make them again.") from error


@dataclass(frozen=True)
class Offer:
    """The components: what is kept now, what is offered, and how."""

    kept: gr.BrowserState
    offered: gr.State
    frame: gr.Column
    told: gr.HTML
    again: gr.Button
    no: gr.Button


def lay_out() -> Offer:
    """Above the tabs, hidden until there is something to offer."""
    kept, offered = gr.BrowserState(None, **_PLACE), gr.State(None)
    with gr.Column(visible=False, elem_id="offer") as frame:
        told = gr.HTML(elem_id="offer-text")
        with gr.Row():
            again = gr.Button("Make them again", size="sm", variant="primary", elem_id="offer-again")
            no = gr.Button("No, thanks", size="sm", elem_id="offer-no")
    return Offer(kept, offered, frame, told, again, no)


# while the page waits for an answer, it looks whether the server is still there
_WATCH = """() => setInterval(async () => {
    const waiting = document.querySelector('#verdicts .waiting');
    if (!waiting || waiting.dataset.lost) return;
    try {
        await fetch(window.gradio_config.root + '/health', {cache: 'no-store'});
    } catch {
        waiting.dataset.lost = 'yes';
        waiting.firstElementChild.textContent = 'The server has gone, and with it what it was doing. '
            + 'Reload the page when it is back: this browser kept your edits as text and offers them again.';
    }
}, 3000)"""


class KeptEdits:
    """The handlers."""

    def __init__(self, runtime: Runtime, parts: PageParts, offer: Offer):
        self.runtime, self.parts, self.offer = runtime, parts, offer
        first = as_text(parts.first.state)
        self._first = read(first).edits if first else []

    def arrive(self, kept: Any) -> dict:
        """The page was loaded: offer the edits that this browser kept, if a new page has others."""
        try:
            edits = read(kept).edits if kept else []
        except ValueError:
            edits = []
        if not edits or edits == self._first:
            return {self.offer.offered: None}
        named = [f"{edit.prompt} → {edit.target}" for edit in edits]
        told = html.offered(named[:SHOWN], len(named))
        return {self.offer.offered: kept, self.offer.told: told, self.offer.frame: gr.update(visible=True)}

    def make_again(self, state: VisitorState, offered: Any) -> Iterator[dict]:
        """Make the offered edits on the model that they were made on."""
        kept = read(offered)
        choice = ModelChoice(kept.model, kept.editor)
        for text in self.runtime.opening(choice):
            yield {self.offer.told: html.note(text)}
        studio, made = self.runtime.studio(choice), EditSession()
        for method, run in groupby(enumerate(kept.edits), lambda numbered: numbered[1].method):
            cases = [self._case(studio, i, edit) for i, edit in run]
            for event in self.runtime.apply_all(choice, cases, method, made, "jointly"):
                words = f"Made {len(event.session.edits)} of {len(kept.edits)} edits…"
                yield {self.offer.told: html.note(words)}
                if isinstance(event, AfterAll):
                    made = event.session
        for i, edit in enumerate(kept.edits):
            made = made.set_strength(i, edit.strength) if edit.strength != 1 else made
        made = made.set_on({i for i, edit in enumerate(kept.edits) if edit.on})
        before = state.with_choice(choice)
        session = before.session.replaced(made.edits)
        yield {
            self.parts.state: before._replace(request=made.edits[-1].request).with_session(session),
            self.parts.inputs.model: choice.model,
            self.parts.inputs.editor: choice.editor,
            self.offer.frame: gr.update(visible=False),
        }

    def _case(self, studio: Any, i: int, edit: KeptEdit) -> Case:
        request = studio.request(
            edit.task, edit.prompt, edit.target, edit.instruction, subject=edit.subject, chat=edit.chat
        )
        return Case("edit", i, Record(request, request.subject or edit.prompt, ""), request)


def wire(page: gr.Blocks, runtime: Runtime, parts: PageParts, offer: Offer) -> None:
    """Keep the edits whenever they change, and offer them when the page is loaded."""
    kept = KeptEdits(runtime, parts, offer)
    page.load(None, js=_WATCH)
    page.load(kept.arrive, offer.kept, [offer.offered, offer.told, offer.frame], **QUIET)
    parts.state.change(as_text, parts.state, offer.kept, **QUIET)
    made = offer.again.click(
        errors_as_messages(kept.make_again),
        [parts.state, offer.offered],
        [parts.state, parts.inputs.model, parts.inputs.editor, offer.told, offer.frame],
        **QUIET,
        **LONG,
    )
    parts.redraws(made.success)
    offer.no.click(lambda: gr.update(visible=False), None, offer.frame, **QUIET)
