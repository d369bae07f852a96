"""The results on the Edit tab: what shows an edit, and the list of edits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from model_zoo.session import EditSession

from . import take_home
from .tab import PageParts


@dataclass(frozen=True)
class Outputs:
    """The components, in the order that their update is declared in."""

    pair: gr.HTML
    language: gr.Radio
    verdicts: gr.HTML
    changes: gr.HTML
    stack: gr.CheckboxGroup
    undo: gr.Button
    redo: gr.Button
    clear: gr.Button
    download: gr.Button


@dataclass(frozen=True)
class Question:
    """A question to both models, and their answer."""

    box: gr.Textbox
    button: gr.Button
    answer: gr.HTML


def boxes(session: EditSession) -> list[str]:
    """What each edit's box sends when it is clicked, and shows under the pointer: the edit's label, which
    stays when the edit moves up or down; numbered where a file that was loaded again repeats one.
    """
    seen: Counter[str] = Counter()
    found = []
    for edit in session.edits:
        seen[edit.label] += 1
        again = f" ({seen[edit.label]})" if seen[edit.label] > 1 else ""
        found.append(f"{edit.label}{again}")
    return found


def stack_choices(session: EditSession) -> tuple[list[tuple[str, str]], list[str]]:
    """The edits as choices (label, box), and the boxes of those that are on."""
    choices, on = [], []
    for i, (edit, box) in enumerate(zip(session.edits, boxes(session), strict=True)):
        strength = "" if edit.strength == 1 else f" (strength {edit.strength:g})"
        choices.append((f"{i + 1}. {edit.label}{strength}", box))
        on += [box] if edit.on else []
    return choices, on


def lay_out_outputs(parts: PageParts) -> tuple[Outputs, Question, Callable]:
    """The results, filled with the first edit; the event after which the edits are those of a file comes
    last.
    """
    first = parts.first
    pair = gr.HTML(first.pair, elem_id="pair")
    language = gr.Radio([], label="Asked in", visible=False, elem_id="language")
    verdicts = gr.HTML(first.verdicts, elem_id="verdicts")
    parts.looks_around = gr.Button("All side effects of this edit", size="sm", elem_id="looks-around")
    question = _lay_out_question(parts.runtime.studio(first.state.choice).source.question)
    changes = gr.HTML(first.changes, elem_id="changes")
    choices, on = stack_choices(first.state.session)
    label = "Your edits (untick one to switch it off)"
    stack = gr.CheckboxGroup(choices, value=on, label=label, elem_id="stack", interactive=True)
    with gr.Row(elem_id="stack-actions"):
        undo, redo, clear = (
            gr.Button(name, size="sm", min_width=70, elem_id=name.lower())
            for name in ("Undo", "Redo", "Clear")
        )
    redo.interactive = False
    home = take_home.build(parts.runtime, parts.state)
    outputs = Outputs(pair, language, verdicts, changes, stack, undo, redo, clear, home.download)
    return outputs, question, home.opened


def _lay_out_question(question: str) -> Question:
    with gr.Row(elem_id="ask-row", equal_height=True):
        box = gr.Textbox(
            label="Ask both models anything else",
            value=question,
            elem_id="ask",
            scale=5,
            max_lines=2,
        )
        button = gr.Button("Ask", elem_id="ask-button", scale=1, min_width=90)
    return Question(box, button, gr.HTML(elem_id="answer"))
