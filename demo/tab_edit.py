"""The Edit tab: type an edit, see before and after, what else changed, and the list of edits."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from model_zoo.events import Event, Probabilities, TextSoFar, Verdicts
from model_zoo.methods import METHODS
from model_zoo.request import EditRequest
from model_zoo.session import EditSession
from model_zoo.sources import Source, Suggestion
from model_zoo.tasks import TASKS

from . import api, html
from .edit_inputs import EditInputs, components, labelled, lay_out_examples, lay_out_inputs, wire_inputs
from .edit_outputs import Outputs, boxes, lay_out_outputs, stack_choices
from .handlers import ANEW, ASK, COMPUTE, PRIVATE, QUIET, errors_as_messages
from .hyper_controls import HyperControls
from .picker import Picker
from .runtime import Question, Runtime
from .tab import PageParts, Tab
from .visitor import ModelChoice, VisitorState

REDRAWN = 0.2  # seconds between two states of a text that grows: each costs the browser some work
NO_EDIT = "No edit is on: both sides are the base model."
THIS_IS_OFF = "This edit is off. Tick it to judge it, or look at what the others do to its prompt."
JUDGING = "Asking the paraphrases and the neighbours…"


# ---- handlers ----------------------------------------------------------------------------------------------


class EditTab:
    """The tab's handlers. Each yields {component: value}, the visitor's new state among them."""

    def __init__(
        self,
        runtime: Runtime,
        state: gr.State,
        outputs: Outputs,
        hyper: HyperControls,
        examples: Mapping[str, gr.Button],
        chat: gr.Checkbox,
    ):
        """`examples`: the button of each task's example; `chat`: the switch that only chat models have."""
        self.runtime, self.state, self.out, self.hyper = runtime, state, outputs, hyper
        self.examples, self.chat = examples, chat

    def apply(
        self,
        state: VisitorState,
        model: str,
        task: str,
        instruction: str,
        prompt: str,
        target: str,
        strength: float,
        method: str,
        editor: str,
        subject: str,
        chat: bool,
        *hyper,
    ) -> Iterator[dict]:
        """Make the typed edit on top of the visitor's edits, and show everything about it."""
        choice = ModelChoice(model, editor or "")
        try:
            studio = self.runtime.studio(choice)
            request = studio.request(task, prompt, target, instruction, subject=subject, chat=chat)
            state = _typed(state.with_choice(choice), request)
            name = method or studio.default_method()
            chosen = self.hyper.of(name, hyper)
            life = self.runtime.life(choice, request, name, strength, state.session, state.record, chosen)
            proposed = next(life)
        except Exception:
            yield {self.out.verdicts: html.waiting("The edit was not made; everything is as it was.")}
            raise
        state = state.with_session(proposed.session)
        yield self._frame(state, proposed.seconds)
        yield {self.out.verdicts: html.waiting(JUDGING)}
        yield from self._drawn(request, life)

    def redraw(self, state: VisitorState) -> Iterator[dict]:
        """What `show` shows, the text whole: nobody needs to see it grow a second time."""
        yield from self.show(state, streaming=False)

    def show(self, state: VisitorState, streaming: bool = True) -> Iterator[dict]:
        """The list of edits, then the edit on show under them: text, probabilities and verdicts."""
        yield self._frame(state)
        if state.request is None:
            return
        judged = state.shown is not None
        status = JUDGING if judged else THIS_IS_OFF if state.session.active else NO_EDIT
        yield {self.out.verdicts: html.waiting(status)}
        shown = (state.request, state.session, judged, state.record, state.language)
        events = self.runtime.show_edit(state.choice, *shown, streaming)
        yield from self._drawn(state.request, events)

    def _drawn(self, request: EditRequest, events: Iterator[Event]) -> Iterator[dict]:
        """The updates that draw an edit's events."""
        text, drawn = TextSoFar("", ""), 0.0
        for event in events:
            if isinstance(event, TextSoFar):
                text = event  # the whole text is drawn with its probabilities
                if time.monotonic() - drawn < REDRAWN:
                    continue
                drawn = time.monotonic()
                yield {self.out.pair: html.before_after(request, text)}
            elif isinstance(event, Probabilities):
                pair = html.before_after(request, text, event)
                yield {self.out.pair: pair}
            elif isinstance(event, Verdicts):
                yield {self.out.verdicts: html.verdicts(event)}

    def _frame(self, state: VisitorState, seconds: float | None = None) -> dict:
        """The visitor's state, the list of edits, and what the edit on show changed."""
        parts = {self.out.changes: self._changes(state, seconds), self.out.language: _languages(state)}
        return {self.state: state, **self._stack(state.session), **parts}

    def _changes(self, state: VisitorState, seconds: float | None) -> str:
        """What the edit on show changed, if it is on."""
        edit = state.shown
        if edit is None:
            return ""
        studio = self.runtime.studio(state.choice)
        effects = studio.effects(edit)
        told = html.contradicts([other.label for other in studio.contradicted(edit.request, state.session)])
        method, others = METHODS[edit.method].pretty_name, len(state.session.active)
        return told + html.what_changed(edit.change.in_words(), effects, method, seconds, others)

    def _stack(self, session: EditSession) -> dict:
        """The list of edits and the buttons that fit it."""
        choices, on = stack_choices(session)
        return {
            self.out.stack: gr.update(choices=choices, value=on),
            self.out.undo: gr.update(interactive=bool(session.past)),
            self.out.redo: gr.update(interactive=bool(session.future)),
            self.out.clear: gr.update(interactive=bool(session.edits)),
            self.out.download: gr.update(interactive=bool(on)),
        }

    def change(self, action: Callable) -> Callable:
        """A handler that changes the session by `action(session, *values)` and shows what that did."""

        def handler(state: VisitorState, *values) -> Iterator[dict]:
            yield from self.show(state.with_session(action(state.session, *values)).showing_an_own_edit())

        return errors_as_messages(handler)

    def tick(self, state: VisitorState, event: gr.SelectData) -> Iterator[dict]:
        """Switch over the edit whose box was clicked, wherever in the list it stands by now."""
        session, listed = state.session, boxes(state.session)
        if event.value in listed:
            session = session.toggle(listed.index(event.value))
        yield from self.show(state.with_session(session).showing_an_own_edit())

    def ask_in(self, state: VisitorState, language: str) -> Iterator[dict]:
        """Judge the edit on show by the prompts that its record has in a language."""
        yield from self.redraw(state._replace(language=language))

    def arrive(self, state: VisitorState, model: str, editor: str) -> Iterator[dict]:
        """What was chosen is loaded: bring back the edits that the visitor made with it."""
        choice = ModelChoice(model, editor or "")
        if not self.runtime.loaded(choice):  # its terms are still to be accepted
            yield from self.show(state)
            return
        state = state.with_choice(choice)
        studio = self.runtime.studio(choice)
        labels = {button: gr.update(**labelled(studio, task)) for task, button in self.examples.items()}
        yield {**labels, self.chat: gr.update(visible=studio.backbone.chats)}
        yield from self.show(state)
        if not state.session.edits:
            ready = f"{state.choice} is ready; you have made no edit on it yet."
            yield {self.out.verdicts: html.waiting(f"{ready} {self._without_editor(state.choice)}")}

    def example(self, task: str, model: str, editor: str) -> Suggestion:
        """The example of a task for the chosen model, or for any where that is not there yet."""
        choice = ModelChoice(model, editor or "")
        source = self.runtime.studio(choice).source if self.runtime.loaded(choice) else Source()
        return source.examples[task][0]  # a button without one is hidden

    def _without_editor(self, choice: ModelChoice) -> str:
        """If no editor is at hand: what makes the edits meanwhile, and how to get an editor."""
        if self.runtime.studio(choice).editors:
            return ""
        return (
            "No trained editor is at hand, so FT-L makes its edits. Look for one on the Hub under "
            "More settings, or train one: "
            f"python -m model_zoo train --model {choice.model} --out my-editor, "
            "then type my-editor as the editor."
        )

    def ask(self, state: VisitorState, prompt: str, chat: bool) -> Iterator[str]:
        """Ask both models a question."""
        prompt = prompt.strip()
        if not prompt:
            raise ValueError("Type a question or the beginning of a sentence first.")
        for before, after in self.runtime.ask(state.choice, Question(prompt, state.session, chat)):
            yield html.asked(prompt, before, after)


def _typed(state: VisitorState, request: EditRequest) -> VisitorState:
    """The state with this edit on show; a reference edit that it came from goes if something else was typed
    over it.
    """
    record = state.record
    if record is not None and (record.request.prompt, record.request.target) != (
        request.prompt,
        request.target,
    ):
        record = None
    return state._replace(request=request, record=record, language="")


def _languages(state: VisitorState) -> dict:
    """The update of the choice of languages, which only an edit of a record in several has."""
    record = state.record
    if record is None or state.request is None or record.request.prompt != state.request.prompt:
        return gr.update(visible=False)
    names, asked = list(record.languages), record.asked_in(state.language).language
    return gr.update(choices=names, value=asked if names else None, visible=bool(names))


# ---- wiring ------------------------------------------------------------------------------------------------


def build(parts: PageParts, frame: gr.Tab) -> None:
    """Lay out the tab and wire it."""
    runtime, state = parts.runtime, parts.state
    with gr.Row(elem_id="edit-row"):
        with gr.Column(scale=4, min_width=300, elem_id="inputs"):
            inputs, model, hyper, look = lay_out_inputs(runtime, parts.first.request)
            apply_button = gr.Button("Apply edit", variant="primary", elem_id="apply")
            studio = runtime.studio(parts.first.state.choice)
            examples, parts.scope_example = lay_out_examples(studio)
        with gr.Column(scale=7, min_width=320, elem_id="results"):
            outputs, question, opened = lay_out_outputs(parts)
    parts.inputs, parts.hyper = inputs, hyper
    tab = EditTab(runtime, state, outputs, hyper, examples, inputs.chat)
    picker = Picker(runtime, model, inputs.editor, outputs.verdicts)
    # first, so that no private listener takes the endpoints' names
    api.build(runtime, state, components(inputs), question.box, inputs.chat)
    shows: dict[str, Any] = {"outputs": [state, *components(outputs)], **ANEW, **QUIET, **COMPUTE}
    parts.redraws = lambda event: event(errors_as_messages(tab.redraw), [state], **shows)
    parts.redraws(opened)
    _wire_edits(parts, tab, picker, inputs, apply_button, shows)
    wire_inputs(runtime, inputs)
    hyper.show_for(inputs.method)
    arrives = {**shows, "outputs": [*shows["outputs"], *examples.values(), inputs.chat]}
    parts.opens_model = picker.wire(state, tab.arrive, arrives, look)
    _wire_stack(tab, shows)
    outputs.language.input(errors_as_messages(tab.ask_in), [state, outputs.language], **shows)
    for trigger in (question.button.click, question.box.submit):
        trigger(
            errors_as_messages(tab.ask),
            [state, question.box, inputs.chat],
            question.answer,
            trigger_mode="always_last",
            **QUIET,
            **ASK,
        )


def _wire_edits(
    parts: PageParts, tab: EditTab, picker: Picker, inputs: EditInputs, apply_button: gr.Button, shows: dict
) -> None:
    """What makes an edit: the button, Enter, an example. Each loads the model first."""
    triggers = (apply_button.click, inputs.prompt.submit, inputs.target.submit)
    loads = [picker.before_an_edit(trigger) for trigger in triggers]
    for task, button in tab.examples.items():

        def fill(model: str, editor: str, task: str = task) -> dict:
            example = tab.example(task, model, editor)
            return inputs.filled(task, TASKS[task].instructions[0], example.prompt, example.target)

        filled = button.click(fill, [inputs.model, inputs.editor], inputs.text, **PRIVATE)
        loads.append(picker.before_an_edit(filled.then))
    typed = [tab.state, *components(inputs), *tab.hyper.components]
    for load in loads:
        applied = load.success(errors_as_messages(tab.apply), typed, **shows)
        parts.redraws(applied.failure)  # what was being judged gave way to an edit that could not be made


def _wire_stack(tab: EditTab, shows: dict) -> None:
    out = tab.out
    out.stack.select(errors_as_messages(tab.tick), [tab.state], **shows)
    out.undo.click(tab.change(EditSession.undo), [tab.state], **shows)
    out.redo.click(tab.change(EditSession.redo), [tab.state], **shows)
    out.clear.click(tab.change(EditSession.clear), [tab.state], **shows)


TAB = Tab("Edit", build)
