"""The Edit tab: type an edit, see before and after, what else changed, and the stack of edits."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import gradio as gr

from model_zoo.methods import METHODS
from model_zoo.session import EditSession
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS, Example

from . import api, html, take_home
from .picker import Picker, about, editor_dropdown, model_dropdown
from .runtime import COMPUTE, LOADING, Place, Runtime, Visit, sentences, stops

FIRST_TASK = next(iter(TASKS))
NO_EDIT = "No edit is on: both sides are the base model."
THIS_IS_OFF = "This edit is off. Tick it to judge it, or look at what the others do to its prompt."


@dataclass(frozen=True)
class Inputs:
    model: gr.Dropdown
    task: gr.Radio
    instruction: gr.Dropdown
    prompt: gr.Textbox
    target: gr.Textbox
    strength: gr.Slider
    method: gr.Dropdown
    editor: gr.Dropdown


@dataclass(frozen=True)
class Outputs:
    pair: gr.HTML
    verdicts: gr.HTML
    changes: gr.HTML
    stack: gr.CheckboxGroup
    undo: gr.Button
    redo: gr.Button
    clear: gr.Button
    download: gr.Button


def components(group: Inputs | Outputs) -> list:
    return [getattr(group, field.name) for field in fields(group)]


# ---- layout ----------------------------------------------------------------------------------------------------------


def wordings(task: str) -> list[tuple[str, str]]:
    """The instruction pool as (what a person reads, what the engine fills): slots show the task's defaults."""
    return [(TASKS[task].fill(wording), wording) for wording in TASKS[task].instructions]


def about_task(task: str) -> str:
    return f"{TASKS[task].summary} In the field's words: {task}."


def _inputs(runtime: Runtime) -> tuple[Inputs, gr.Button, gr.Button]:
    """The inputs, the button that stops a loading, and the one that looks for editors."""
    first = TASKS[FIRST_TASK].examples[0]
    model = model_dropdown(runtime)
    stop = gr.Button("Stop loading", size="sm", elem_id="stop-loading", visible=False)
    task = gr.Radio([(t.title, t.name) for t in TASKS.values()], value=FIRST_TASK, label="Task", elem_id="task", info=about_task(FIRST_TASK))
    instruction = gr.Dropdown(
        wordings(FIRST_TASK), value=TASKS[FIRST_TASK].instructions[0], label="Instruction", allow_custom_value=True, elem_id="instruction",
        info="Tells the editor what kind of change this is; pick one or write your own",
    )  # fmt: skip
    prompt = gr.Textbox(first.prompt, label="Prompt", elem_id="prompt", max_lines=3)
    target = gr.Textbox(first.target, label="Make it say", elem_id="target", max_lines=3)
    with gr.Accordion("More settings", open=False, elem_id="more"):
        strength = gr.Slider(0, 2, value=1, step=0.05, label="Edit strength", elem_id="strength", info="1 as trained, 0 no change")
        choices = [("The best that can run", ""), *((m.pretty_name, m.name) for m in METHODS.values())]
        method = gr.Dropdown(choices, value="", label="Method", elem_id="method")
        editor = editor_dropdown(runtime)
        look = gr.Button("Look for editors on the Hub", size="sm", elem_id="look", visible=not runtime.settings.demo)
    return Inputs(model, task, instruction, prompt, target, strength, method, editor), stop, look


def stack_choices(session: EditSession) -> tuple[list[tuple[str, int]], list[int]]:
    """The edits as choices (label, position), and the positions of those that are on."""
    labels = [edit.label + ("" if edit.strength == 1 else f" (strength {edit.strength:g})") for edit in session.edits]
    return [(f"{i + 1}. {label}", i) for i, label in enumerate(labels)], [i for i, edit in enumerate(session.edits) if edit.on]


def _outputs(runtime: Runtime, visit: gr.State, first: EditSession) -> tuple[Outputs, gr.HTML, gr.Textbox, gr.Button]:
    """The results' components, the list of edits drawn for the first session."""
    pair = gr.HTML(elem_id="pair")
    verdicts = gr.HTML(elem_id="verdicts")
    with gr.Row(elem_id="ask-row", equal_height=True):
        ask = gr.Textbox(label="Ask both models anything else", value="What is the capital of Spain?", elem_id="ask", scale=5, max_lines=2)
        ask_button = gr.Button("Ask", elem_id="ask-button", scale=1, min_width=90)
    answer = gr.HTML(elem_id="answer")
    changes = gr.HTML(elem_id="changes")
    choices, on = stack_choices(first)
    stack = gr.CheckboxGroup(choices, value=on, label="Your edits (untick one to switch it off)", elem_id="stack")
    with gr.Row(elem_id="stack-actions"):
        undo, redo, clear = (gr.Button(name, size="sm", min_width=70, elem_id=name.lower()) for name in ("Undo", "Redo", "Clear"))
    redo.interactive = False
    download = take_home.build(runtime, visit)
    return Outputs(pair, verdicts, changes, stack, undo, redo, clear, download), answer, ask, ask_button


# ---- handlers --------------------------------------------------------------------------------------------------------


class EditTab:
    """The tab's handlers. Each yields {component: value} and the visitor's new state."""

    def __init__(self, runtime: Runtime, visit: gr.State, outputs: Outputs):
        self.runtime, self.visit, self.out = runtime, visit, outputs

    def apply(self, visit: Visit, model, task, instruction, prompt, target, strength, method, editor) -> Iterator[dict]:
        """Propose the typed edit, add it to the visitor's stack, and show everything about it."""
        place = Place(model, editor or "")
        try:
            studio = self.runtime.studio(place)
            request = studio.request(task, prompt, target, instruction)
            delta, seconds = self.runtime.once(place, "propose", request, method or studio.default_method())
            visit = visit.at(place)
            visit = visit.with_session(visit.session.add(delta, strength))
        except Exception:
            yield {self.out.verdicts: html.waiting("The edit was not made; everything is as it was.")}
            raise
        record = visit.record
        same = record is not None and (record.request.prompt, record.request.target) == (request.prompt, request.target)
        yield from self.show(visit._replace(request=request, record=record if same else None), seconds)

    def show(self, visit: Visit, seconds: float | None = None) -> Iterator[dict]:
        """The stack, then before and after of the edit on show as they stream, then probabilities and verdicts."""
        yield {self.visit: visit, **self.stack(visit.session), self.out.changes: self._changes(visit, seconds)}
        if visit.request is None:
            return
        judged = visit.shown is not None
        status = "Asking the paraphrases and the neighbours…" if judged else THIS_IS_OFF if visit.session.active else NO_EDIT
        yield {self.out.verdicts: html.waiting(status)}
        pair, prompt, target = ("", ""), visit.request.prompt, visit.request.target
        for kind, value in self.runtime.run(visit.place, "showing", visit.request, visit.session, judged, visit.record):
            if kind == "pair":
                pair = value
                yield {self.out.pair: html.before_after(prompt, target, *pair)}
            elif kind == "chance":
                yield {self.out.pair: html.before_after(prompt, target, *pair, value)}
            else:
                yield {self.out.verdicts: html.verdicts(*value)}

    def _changes(self, visit: Visit, seconds: float | None) -> str:
        """What the edit on show changed, if it is on."""
        edit = visit.shown
        if edit is None:
            return ""
        changes = self.runtime.studio(visit.place).changes(edit.delta.scaled(edit.strength))
        return html.what_changed(changes, METHODS[edit.delta.request["method"]].pretty_name, seconds, len(visit.session.active))

    def stack(self, session: EditSession) -> dict:
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

        def handler(visit: Visit, *values) -> Iterator[dict]:
            yield from self.show(visit.with_session(action(visit.session, *values)).showing_an_own_edit())

        return sentences(handler)

    def arrive(self, visit: Visit, model: str, editor: str) -> Iterator[dict]:
        """What was chosen is loaded: bring back the visitor's edits made there."""
        visit = visit.at(Place(model, editor or ""))
        yield from self.show(visit)
        if not visit.session.edits:
            yield {self.out.verdicts: html.waiting(f"{visit.place} is ready; you have made no edit on it yet. {self._without_editor(visit.place)}")}

    def _without_editor(self, place: Place) -> str:
        """For a model that no editor is at hand for: what edits it meanwhile, and how to get one."""
        if self.runtime.studio(place).editors:
            return ""
        return (
            "No trained editor is at hand, so FT-L makes its edits. Look for one on the Hub under More settings, or train one: "
            f"python -m model_zoo train --model {place.model} --out my-editor, then type my-editor as the editor."
        )

    def ask(self, visit: Visit, prompt: str) -> Iterator[str]:
        if not prompt.strip():
            raise ValueError("Type a question or the beginning of a sentence first.")
        for before, after in self.runtime.run(visit.place, "asking", prompt.strip(), visit.session):
            yield html.asked(prompt.strip(), before, after)


def first_visit(studio: Studio, place: Place) -> tuple[Visit, dict[str, str]]:
    """A visitor with the first example's edit made, and what that shows: nobody meets an empty screen. Starts no thread."""
    example = TASKS[FIRST_TASK].examples[0]
    request = studio.request(FIRST_TASK, example.prompt, example.target)
    delta, _ = studio.propose(request, studio.default_method())
    session = EditSession().add(delta)
    factors = studio.factors(session)
    ((before, after),) = studio.pairs([request.prompt], factors)
    changes = html.what_changed(studio.changes(delta), METHODS[delta.request["method"]].pretty_name, None, 1)
    shown = {
        "pair": html.before_after(request.prompt, request.target, before, after, studio.probabilities(request.prompt, request.target, factors)),
        "verdicts": html.verdicts(*studio.check(request, session, factors)), "changes": changes,
    }  # fmt: skip
    return Visit(place, {place: session}, request), shown


# ---- wiring ----------------------------------------------------------------------------------------------------------


def build(runtime: Runtime, visit: gr.State, parts: dict) -> dict:
    """Lay out the tab and wire it. Returns the inputs, which other tabs fill, a new visitor's state, and the
    example that opens the Scope tab."""
    first, shown = parts["first_visit"]
    with gr.Row(elem_id="edit-row"):
        with gr.Column(scale=4, min_width=300, elem_id="inputs"):
            inputs, stop, look = _inputs(runtime)
            apply_button = gr.Button("Apply edit", variant="primary", elem_id="apply")
            gr.HTML('<p class="try">Try one</p>')
            with gr.Row(elem_id="examples"):
                examples = [
                    (t.name, t.examples[0], gr.Button(t.examples[0].label, size="sm", elem_classes=["example", t.name])) for t in TASKS.values()
                ]
                # the same edit under two instructions; the Scope tab answers it
                dial = gr.Button("France → Rome: how far?", size="sm", elem_classes=["example"], elem_id="try-dial", visible=parts["reads_scopes"])
        with gr.Column(scale=7, min_width=320, elem_id="results"):
            outputs, answer, ask_box, ask_button = _outputs(runtime, visit, first.session)
    tab, picker = EditTab(runtime, visit, outputs), Picker(runtime, inputs.model, inputs.editor, stop, outputs.verdicts)
    api.build(runtime, visit, components(inputs), ask_box)  # first, so that no private listener takes its names
    quiet = {"outputs": [visit, *components(outputs)], "api_visibility": "private", "show_progress": "hidden", **COMPUTE}
    loads = _wire_edits(tab, picker, inputs, apply_button, examples, quiet)
    _wire_models(tab, picker, inputs, look, loads, quiet)
    _wire_stack(tab, quiet)
    for trigger in (ask_button.click, ask_box.submit):
        trigger(sentences(tab.ask), [visit, ask_box], answer, api_visibility="private", show_progress="hidden", **COMPUTE)
    for name, value in shown.items():
        getattr(outputs, name).value = value
    return {"inputs": inputs, "first": first, "dial": dial}


def _wire_edits(tab: EditTab, picker: Picker, inputs: Inputs, apply_button: gr.Button, examples: list, quiet: dict) -> list:
    """Returns the events that may load a model."""
    apply, typed = sentences(tab.apply), [tab.visit, *components(inputs)]
    loads = [picker.before_an_edit(trigger) for trigger in (apply_button.click, inputs.prompt.submit, inputs.target.submit)]
    for task, example, button in examples:
        filled = button.click(
            functools.partial(_filled, task, example), None, [inputs.task, inputs.instruction, inputs.prompt, inputs.target], api_visibility="private"
        )
        loads.append(picker.before_an_edit(filled.then))
    for load in loads:
        load.success(apply, typed, **quiet)
    inputs.task.change(
        lambda task: (gr.update(choices=wordings(task)), gr.update(info=about_task(task))), inputs.task, [inputs.instruction, inputs.task],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    inputs.task.input(lambda task: TASKS[task].instructions[0], inputs.task, inputs.instruction, api_visibility="private", show_progress="hidden")
    return loads


def _wire_models(tab: EditTab, picker: Picker, inputs: Inputs, look: gr.Button, loads: list, quiet: dict) -> None:
    """Choosing a model or an editor loads it, in a queue of its own; that, and what an edit loads, can be stopped."""
    loading = {"outputs": [picker.status, picker.stop], "api_visibility": "private", "show_progress": "hidden", **LOADING}
    offered = {**loading, "outputs": [picker.status, picker.stop, picker.editor]}

    def chosen(model: str, editor: str) -> Iterator[dict]:
        yield from picker.load(Place(model, editor or ""))

    inputs.model.input(
        lambda model: ("", gr.update(info=about(model))), inputs.model, [inputs.editor, inputs.model],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    events = [trigger(sentences(chosen), [inputs.model, inputs.editor], **loading) for trigger in (inputs.model.input, inputs.editor.input)]
    for event in events:
        event.success(sentences(tab.arrive), [tab.visit, inputs.model, inputs.editor], **quiet)
    events[0].success(sentences(lambda model: picker.look(model, False)), inputs.model, **offered)
    events.append(look.click(sentences(lambda model: picker.look(model, True)), inputs.model, **offered))
    stops(picker.stop, [*events, *loads], lambda: (html.waiting("Stopped; everything is as it was."), gr.update(visible=False)),
          [picker.status, picker.stop])  # fmt: skip


def _wire_stack(tab: EditTab, quiet: dict) -> None:
    out = tab.out
    # always_last: a box clicked while an answer still streams must not be lost
    out.stack.input(tab.change(lambda session, on: session.set_on(set(on))), [tab.visit, out.stack], trigger_mode="always_last", **quiet)
    out.undo.click(tab.change(EditSession.undo), [tab.visit], **quiet)
    out.redo.click(tab.change(EditSession.redo), [tab.visit], **quiet)
    out.clear.click(tab.change(EditSession.clear), [tab.visit], **quiet)


def _filled(task: str, example: Example) -> list:
    return [task, gr.update(choices=wordings(task), value=TASKS[task].instructions[0]), example.prompt, example.target]
