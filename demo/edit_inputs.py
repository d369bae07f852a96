"""The inputs of the Edit tab. Other tabs fill them too."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from model_zoo.methods import METHODS
from model_zoo.request import EditRequest
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS

from .first_edit import FIRST_TASK
from .handlers import QUIET
from .hyper_controls import HyperControls, lay_out_hyper_controls
from .picker import ModelInputs, editor_dropdown, lay_out_model
from .runtime import Runtime
from .visitor import ModelChoice


@dataclass(frozen=True)
class EditInputs:
    """In the order of the handler that makes an edit, and of the endpoint /edit."""

    model: gr.Dropdown
    task: gr.Radio
    instruction: gr.Dropdown
    prompt: gr.Textbox
    target: gr.Textbox
    strength: gr.Slider
    method: gr.Dropdown
    editor: gr.Dropdown
    subject: gr.Textbox
    chat: gr.Checkbox

    @property
    def text(self) -> list:
        """What says which edit to make."""
        return [self.task, self.instruction, self.prompt, self.target]

    def filled(self, task: str, instruction: str, prompt: str, target: str) -> dict:
        """The update that fills `text`."""
        instructions = gr.update(choices=wordings(task), value=instruction)
        return {self.task: task, self.instruction: instructions, self.prompt: prompt, self.target: target}


def components(group: Any) -> list:
    """The components that a dataclass holds, in its order."""
    return [getattr(group, field.name) for field in fields(group)]


def wordings(task: str) -> list[tuple[str, str]]:
    """A task's instructions as choices. A person reads them filled in, the engine fills them itself."""
    return [(TASKS[task].fill(wording), wording) for wording in TASKS[task].instructions]


def about_task(task: str) -> str:
    return f"{TASKS[task].summary} In the field's words: {task}."


def about_subject(studio: Studio, prompt: str):
    """The update that shows what is found as a prompt's subject."""
    return gr.update(placeholder=studio.subject_of(prompt) or "none found in the prompt")


def lay_out_inputs(
    runtime: Runtime, first: EditRequest
) -> tuple[EditInputs, ModelInputs, HyperControls, gr.Button]:
    """(inputs, what belongs to the model's, hyperparameters, the button that looks for editors)."""
    loads = lay_out_model(runtime)
    task, instruction = _task_and_instruction()
    prompt = gr.Textbox(first.prompt, label="Prompt", elem_id="prompt", max_lines=3)
    target = gr.Textbox(first.target, label="Make it say", elem_id="target", max_lines=3)
    chats = runtime.studio(ModelChoice(runtime.settings.model)).backbone.chats
    chat = gr.Checkbox(
        True,
        label="Ask questions in the chat template",
        elem_id="chat",
        visible=chats,
        info="As people talk to this model; off: a question is a text that it continues",
    )
    with gr.Accordion("More settings", open=False, elem_id="more"):
        strength, method = _strength_and_method()
        hyper = lay_out_hyper_controls("hyper")
        subject = gr.Textbox(
            "",
            label="Subject",
            elem_id="subject",
            max_lines=1,
            placeholder=first.subject,
            info="Which words of the prompt name what it is about; empty: as found",
        )
        editor = editor_dropdown(runtime)
        look = gr.Button(
            "Look for editors on the Hub", size="sm", elem_id="look", visible=not runtime.settings.demo
        )
    inputs = EditInputs(
        loads.model, task, instruction, prompt, target, strength, method, editor, subject, chat
    )
    return inputs, loads, hyper, look


def _task_and_instruction() -> tuple[gr.Radio, gr.Dropdown]:
    task = gr.Radio(
        [(t.title, t.name) for t in TASKS.values()],
        value=FIRST_TASK.name,
        label="Task",
        elem_id="task",
        info=about_task(FIRST_TASK.name),
    )
    instruction = gr.Dropdown(
        wordings(FIRST_TASK.name),
        value=FIRST_TASK.instructions[0],
        label="Instruction",
        allow_custom_value=True,
        elem_id="instruction",
        info="Tells the editor what kind of change this is; pick one or write your own",
    )
    return task, instruction


def _strength_and_method() -> tuple[gr.Slider, gr.Dropdown]:
    strength = gr.Slider(
        0,
        2,
        value=1,
        step=0.05,
        label="Edit strength",
        elem_id="strength",
        info="1 as trained, 0 no change",
    )
    choices = [("The best that can run", ""), *((m.pretty_name, m.name) for m in METHODS.values())]
    return strength, gr.Dropdown(choices, value="", label="Method", elem_id="method")


def labelled(studio: Studio, task: str) -> dict[str, Any]:
    """What a task's example button says; it is hidden where there is no example."""
    found = studio.source.examples.get(task)
    return {"value": found[0].label if found else "", "visible": bool(found)}


def lay_out_examples(studio: Studio) -> tuple[dict[str, gr.Button], gr.Button]:
    """The button of each task's example, and the one that opens the Scope tab."""
    examples = {}
    gr.HTML('<p class="try">Try one</p>')
    with gr.Row(elem_id="examples"):
        for task in TASKS.values():
            look = ["example", task.name]
            examples[task.name] = gr.Button(size="sm", elem_classes=look, **labelled(studio, task.name))
        scope_example = gr.Button(
            "France → Rome: how far?",
            size="sm",
            elem_classes=["example"],
            elem_id="try-dial",
            visible=studio.reads_scopes,
        )
    return examples, scope_example


def wire_inputs(runtime: Runtime, inputs: EditInputs) -> None:
    """Another task has other instructions; when a person chose it, its first one is taken. What is found as
    the prompt's subject is shown, where the model is there to ask.
    """

    def changed(task: str):
        return gr.update(choices=wordings(task)), gr.update(info=about_task(task))

    def chosen(task: str):
        return TASKS[task].instructions[0]

    def found(model: str, editor: str, prompt: str):
        choice = ModelChoice(model, editor or "")
        return about_subject(runtime.studio(choice), prompt) if runtime.loaded(choice) else gr.skip()

    inputs.task.change(changed, inputs.task, [inputs.instruction, inputs.task], **QUIET)
    inputs.task.input(chosen, inputs.task, inputs.instruction, **QUIET)
    inputs.prompt.change(found, [inputs.model, inputs.editor, inputs.prompt], inputs.subject, **QUIET)
