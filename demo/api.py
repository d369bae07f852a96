"""The public endpoints /edit and /ask: the command line's JSON, under the caller's own session."""

import gradio as gr

from .runtime import Place, Runtime, Visit, sentences

# in queues of their own: /edit may wait for a download, and nobody else should
EDIT, ASK = ({"concurrency_id": f"api-{name}", "concurrency_limit": limit} for name, limit in (("edit", 8), ("ask", 2)))


def build(runtime: Runtime, visit: gr.State, inputs: list, ask_box: gr.Textbox) -> None:
    """Add the endpoints; `inputs` are the Edit tab's, in its order."""

    def edit(visit: Visit, model: str, task: str, instruction: str, prompt: str, target: str, strength: float, method: str, editor: str = ""):
        """Make an edit on top of the session's edits; returns the same JSON as the command line."""
        place = Place(model, editor or "")
        studio, at = runtime.studio(place), visit.at(place)
        request = studio.request(task, prompt, target, instruction)
        report, session = runtime.once(place, "edit", request, method or studio.default_method(), strength, at.session)
        yield report.to_dict(), at.with_session(session)._replace(request=request)

    def ask(visit: Visit, prompt: str):
        """Continue a prompt with the base model and under the session's edits."""
        if not prompt.strip():
            raise ValueError("The prompt is empty: type a question or the beginning of a sentence.")
        *_, (before, after) = runtime.run(visit.place, "asking", prompt.strip(), visit.session)
        yield {"before": before, "after": after}

    result, button = gr.JSON(visible=False), gr.Button(visible=False)
    button.click(sentences(edit), [visit, *inputs], [result, visit], api_name="edit", **EDIT)
    button.click(sentences(ask), [visit, ask_box], result, api_name="ask", **ASK)
