"""The Edit tab: type an edit, see before and after, what else changed, and the stack of edits."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from model_zoo.catalog import CATALOG
from model_zoo.methods import METHODS
from model_zoo.session import EditSession
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS, Example

from . import html
from .runtime import COMPUTE, Runtime, Visit, sentences

FIRST_TASK = next(iter(TASKS))


@dataclass(frozen=True)
class Inputs:
    model: gr.Dropdown
    task: gr.Radio
    instruction: gr.Dropdown
    prompt: gr.Textbox
    target: gr.Textbox
    strength: gr.Slider
    method: gr.Dropdown

    def in_order(self) -> list[gr.components.Component]:
        return [self.model, self.task, self.instruction, self.prompt, self.target, self.strength, self.method]


@dataclass(frozen=True)
class Outputs:
    pair: gr.HTML
    verdicts: gr.HTML
    changes: gr.HTML
    stack: gr.CheckboxGroup
    undo: gr.Button
    redo: gr.Button
    clear: gr.Button
    download: gr.DownloadButton


def wordings(task: str) -> list[str]:
    """The instruction pool as a person reads it: slots filled with the task's defaults."""
    return [TASKS[task].fill(wording) for wording in TASKS[task].instructions]


def _inputs(runtime: Runtime, studio: Studio) -> Inputs:
    first = TASKS[FIRST_TASK].examples[0]
    model = gr.Dropdown(
        [(entry.title, name) for name, entry in CATALOG.items()], value=runtime.settings.model, label="Base model", elem_id="model",
        allow_custom_value=True, info="A listed model, a local folder or a Hub id",
    )  # fmt: skip
    task = gr.Radio([(t.title, t.name) for t in TASKS.values()], value=FIRST_TASK, label="Task", elem_id="task")
    instruction = gr.Dropdown(
        wordings(FIRST_TASK), value=wordings(FIRST_TASK)[0], label="Instruction", allow_custom_value=True, elem_id="instruction",
        info="Tells the editor what kind of change this is; pick one or write your own",
    )  # fmt: skip
    prompt_box = gr.Textbox(first.prompt, label="Prompt", elem_id="prompt", max_lines=3)
    target_box = gr.Textbox(first.target, label="Make it say", elem_id="target", max_lines=3)
    with gr.Accordion("More settings", open=False):
        strength = gr.Slider(0, 2, value=1, step=0.05, label="Edit strength", elem_id="strength", info="1 as trained, 0 no change")
        method = gr.Dropdown([(m.pretty_name, m.name) for m in METHODS.values()], value=studio.default_method(), label="Method", elem_id="method")
    return Inputs(model, task, instruction, prompt_box, target_box, strength, method)


def _outputs() -> tuple[Outputs, gr.HTML, gr.Textbox, gr.Button]:
    pair = gr.HTML(elem_id="pair")
    verdicts = gr.HTML(elem_id="verdicts")
    with gr.Row(elem_id="ask-row", equal_height=True):
        ask = gr.Textbox(label="Ask both models anything else", value="What is the capital of Spain?", elem_id="ask", scale=5)
        ask_button = gr.Button("Ask", elem_id="ask-button", scale=1, min_width=90)
    answer = gr.HTML(elem_id="answer")
    changes = gr.HTML(elem_id="changes")
    stack = gr.CheckboxGroup([], label="Your edits (untick one to switch it off)", elem_id="stack")
    with gr.Row(elem_id="stack-actions"):
        undo, redo, clear = (gr.Button(name, size="sm", min_width=70, elem_id=name.lower()) for name in ("Undo", "Redo", "Clear"))
        download = gr.DownloadButton("Download edits", size="sm", min_width=130, elem_id="download")
    return Outputs(pair, verdicts, changes, stack, undo, redo, clear, download), answer, ask, ask_button


class EditTab:
    """The tab's handlers. Each yields {component: value} and the visitor's new state."""

    def __init__(self, runtime: Runtime, visit: gr.State, outputs: Outputs):
        self.runtime, self.visit, self.out = runtime, visit, outputs

    # ---- making and changing edits -----------------------------------------------------------------------------------

    def apply(self, visit: Visit, model, task, instruction, prompt, target, strength, method) -> Iterator[dict]:
        """Propose the typed edit, add it to the visitor's stack, and show everything about it."""
        studio = self.runtime.studio(model)
        if visit.model != model:
            visit = Visit(model)
        request = studio.request(task, prompt, target, instruction)
        same = visit.record is not None and visit.record.request.prompt == request.prompt and visit.record.request.target == request.target
        delta, seconds = studio.propose(request, method)
        visit = visit._replace(session=visit.session.add(delta, strength), request=request, record=visit.record if same else None)
        on = sum(edit.on for edit in visit.session.edits)
        changes = html.what_changed(studio.changes(delta.scaled(strength)), METHODS[method].pretty_name, seconds, on)
        yield {self.visit: visit, self.out.changes: changes, **self.stack(visit.session)}
        yield from self.show(visit)

    def show(self, visit: Visit) -> Iterator[dict]:
        """Stream before and after of the edit on show, then its probabilities, verdicts and file."""
        if visit.request is None:
            return
        studio, factors = self.runtime.studio(visit.model), self.runtime.factors(visit)
        prompt, target = visit.request.prompt, visit.request.target
        yield {self.out.verdicts: html.waiting("Asking the paraphrases and the neighbours…")}
        pair = ("", "")
        for pair in studio.stream_pair(prompt, factors):
            yield {self.out.pair: html.before_after(prompt, target, *pair)}
        chance = studio.probabilities(prompt, target, factors)
        yield {self.out.pair: html.before_after(prompt, target, *pair, chance)}
        checks = studio.check(visit.request, factors, visit.record)
        yield {self.out.verdicts: html.verdicts(*checks), self.out.download: self._file(visit)}

    def _file(self, visit: Visit):
        path = self.runtime.delta_file(visit)
        return gr.update(value=path, interactive=path is not None)

    def stack(self, session: EditSession) -> dict:
        """The list of edits and the buttons that fit it."""
        choices = [(f"{i + 1}. {edit.label}", i) for i, edit in enumerate(session.edits)]
        on = [i for i, edit in enumerate(session.edits) if edit.on]
        return {
            self.out.stack: gr.update(choices=choices, value=on),
            self.out.undo: gr.update(interactive=bool(session.past)),
            self.out.redo: gr.update(interactive=bool(session.future)),
            self.out.clear: gr.update(interactive=bool(session.edits)),
        }

    def change(self, action) -> object:
        """A handler that changes the session by `action(session, *values)` and shows the result."""

        def handler(visit: Visit, *values) -> Iterator[dict]:
            visit = visit._replace(session=action(visit.session, *values))
            yield {self.visit: visit, **self.stack(visit.session)}
            yield from self.show(visit)

        return sentences(handler)

    # ---- asking ------------------------------------------------------------------------------------------------------

    def ask(self, visit: Visit, prompt: str) -> Iterator[str]:
        if not prompt.strip():
            raise ValueError("Type a question or the beginning of a sentence first.")
        for before, after in self.runtime.studio(visit.model).stream_pair(prompt.strip(), self.runtime.factors(visit)):
            yield html.asked(prompt.strip(), before, after)


def _api(runtime: Runtime, visit: gr.State, inputs: Inputs, ask_box: gr.Textbox) -> None:
    """The public endpoints /edit and /ask: the command line's JSON, under the caller's own session."""

    def edit(visit: Visit, model: str, task: str, instruction: str, prompt: str, target: str, strength: float, method: str):
        """Make an edit on top of the session's edits; returns the same JSON as the command line."""
        studio = _or_error(lambda: runtime.studio(model))
        session = visit.session if visit.model == model and visit.request else EditSession()
        report, session = _or_error(
            lambda: studio.edit(studio.request(task, prompt, target, instruction), method or studio.default_method(), strength, session)
        )
        return report.to_dict(), Visit(model, session, studio.request(task, prompt, target, instruction))

    def ask(visit: Visit, prompt: str):
        """Continue a prompt with the base model and under the session's edits."""
        ((before, after),) = _or_error(lambda: runtime.studio(visit.model).pairs([prompt], runtime.factors(visit)))
        return {"before": before, "after": after}

    result = gr.JSON(visible=False)
    button = gr.Button(visible=False)
    button.click(edit, [visit, *inputs.in_order()], [result, visit], api_name="edit", **COMPUTE)
    button.click(ask, [visit, ask_box], result, api_name="ask", **COMPUTE)


def _or_error(call):
    try:
        return call()
    except ValueError as error:
        raise gr.Error(str(error)) from error


def build(runtime: Runtime, visit: gr.State, parts: dict) -> dict:
    """Lay out the tab and wire it. Returns the components that other tabs fill."""
    studio = runtime.studio(runtime.settings.model)
    with gr.Row(elem_id="edit-row"):
        with gr.Column(scale=4, min_width=300, elem_id="inputs"):
            inputs = _inputs(runtime, studio)
            apply_button = gr.Button("Apply edit", variant="primary", elem_id="apply")
            gr.HTML('<p class="try">Try one</p>')
            with gr.Row(elem_id="examples"):
                examples = [
                    (t.name, t.examples[0], gr.Button(t.examples[0].label, size="sm", elem_classes=["example", t.name])) for t in TASKS.values()
                ]
        with gr.Column(scale=7, min_width=320, elem_id="results"):
            outputs, answer, ask_box, ask_button = _outputs()
    tab = EditTab(runtime, visit, outputs)
    _first_edit(tab, runtime, visit)
    everything = [visit, outputs.pair, outputs.verdicts, outputs.changes, outputs.stack, outputs.undo, outputs.redo, outputs.clear, outputs.download]
    quiet = {"outputs": everything, "api_visibility": "private", "show_progress": "hidden", **COMPUTE}
    apply = sentences(tab.apply)
    for trigger in (apply_button.click, inputs.prompt.submit, inputs.target.submit):
        trigger(apply, [visit, *inputs.in_order()], **quiet)
    for task, example, button in examples:
        fill = functools.partial(_filled, task, example)
        button.click(fill, None, [inputs.task, inputs.instruction, inputs.prompt, inputs.target], api_visibility="private").then(
            apply, [visit, *inputs.in_order()], **quiet
        )
    inputs.task.input(
        lambda task: gr.update(choices=wordings(task), value=wordings(task)[0]), inputs.task, inputs.instruction, api_visibility="private"
    )
    outputs.stack.input(tab.change(lambda session, on: session.set_on(set(on))), [visit, outputs.stack], **quiet)
    outputs.undo.click(tab.change(EditSession.undo), [visit], **quiet)
    outputs.redo.click(tab.change(EditSession.redo), [visit], **quiet)
    outputs.clear.click(tab.change(EditSession.clear), [visit], **quiet)
    for trigger in (ask_button.click, ask_box.submit):
        trigger(sentences(tab.ask), [visit, ask_box], answer, api_visibility="private", show_progress="hidden", **COMPUTE)
    _api(runtime, visit, inputs, ask_box)
    return {"inputs": inputs, "everything": everything}


def _filled(task: str, example: Example) -> list:
    return [task, gr.update(choices=wordings(task), value=wordings(task)[0]), example.prompt, example.target]


def _first_edit(tab: EditTab, runtime: Runtime, visit: gr.State) -> None:
    """Make the first example's edit and put its results into the components' initial values."""
    studio = runtime.studio(runtime.settings.model)
    first = TASKS[FIRST_TASK].examples[0]
    for update in tab.apply(visit.value, runtime.settings.model, FIRST_TASK, "", first.prompt, first.target, 1.0, studio.default_method()):
        for component, value in update.items():
            if isinstance(value, dict):
                for key, v in value.items():
                    if not key.startswith("__"):
                        setattr(component, key, v)
            else:
                component.value = value
