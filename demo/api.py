"""The public endpoints /edit, /ask and /undo: the command line's JSON, under the caller's own session."""

from typing import Any

import gradio as gr

from .handlers import ASK, errors_as_messages
from .runtime import Question, Runtime
from .visitor import ModelChoice, VisitorState

# A queue of its own: /edit may wait for a download, and nobody else should.
EDIT: dict[str, Any] = {"concurrency_id": "api-edit", "concurrency_limit": 8}


class Endpoints:
    """The endpoints' handlers. Their parameters' names are the API's."""

    def __init__(self, runtime: Runtime):
        self.runtime = runtime

    def edit(
        self,
        state: VisitorState,
        model: str,
        task: str,
        instruction: str,
        prompt: str,
        target: str,
        strength: float,
        method: str,
        editor: str = "",
        subject: str = "",
        chat: bool = True,
    ):
        """Make an edit on top of the session's edits; returns the same JSON as the command line."""
        choice = ModelChoice(model, editor)
        studio, state = self.runtime.studio(choice), state.with_choice(choice)
        request = studio.request(task, prompt, target, instruction, subject=subject, chat=chat)
        method = method or studio.default_method()
        report, session = self.runtime.edit(choice, request, method, strength, state.session)
        return report.to_dict(), state.with_session(session)._replace(request=request)

    def ask(self, state: VisitorState, prompt: str, chat: bool = True):
        """Continue a prompt with the base model and under the session's edits; with `chat`, questions are put
        to a chat model in its template.
        """
        if not prompt.strip():
            raise ValueError("The prompt is empty: type a question or the beginning of a sentence.")
        question = Question(prompt.strip(), state.session, chat)
        *_, (before, after) = self.runtime.ask(state.choice, question)
        return {"before": before, "after": after}

    def undo(self, state: VisitorState):
        """Take the session's last change back; returns the edits that are on then, as labels."""
        state = state.with_session(state.session.undo()).showing_an_own_edit()
        return {"edits": [edit.label for edit in state.session.active]}, state


def build(runtime: Runtime, state: gr.State, inputs: list, ask_box: gr.Textbox, chat: gr.Checkbox) -> None:
    """Add the endpoints; `inputs` are the Edit tab's, in its order."""
    endpoints = Endpoints(runtime)
    result, button = gr.JSON(visible=False), gr.Button(visible=False)
    edit, ask, undo = (
        errors_as_messages(one, escaped=False) for one in (endpoints.edit, endpoints.ask, endpoints.undo)
    )
    button.click(edit, [state, *inputs], [result, state], api_name="edit", **EDIT)
    button.click(ask, [state, ask_box, chat], result, api_name="ask", **ASK)
    button.click(undo, [state], [result, state], api_name="undo", **ASK)
