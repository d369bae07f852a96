"""The Scope tab: one edit, two instructions side by side, and a map of what moved under each."""

from collections.abc import Iterator

import gradio as gr

from model_zoo.scopes import SCOPES
from model_zoo.tasks import TASKS

from . import html
from .plots import ripple_figure
from .runtime import COMPUTE, Runtime, Visit, sentences

SIDES = (("left", "subject"), ("right", "category"))
EXAMPLE = next(iter(TASKS.values())).examples[0]
OFFERED = 10  # training wordings to choose from
_READ_ME = (
    "The same edit, told in two ways how far it should reach. The rings are prompts around it, from the sentence itself in the middle "
    "to unrelated ones outside; a filled mark moved."
)

_UNREAD = "What edits here was not trained to read how far an edit should reach: its two sides may be alike."


def first_wording(scope: str) -> str:
    return SCOPES[scope].first_readings[0]


def build(runtime: Runtime, visit: gr.State, parts: dict) -> None:
    """Lay out the tab; the maps are drawn when it is first opened and whenever the edit or a dial changes."""
    gr.Markdown(_READ_ME, elem_id="scope-words")
    with gr.Row(elem_id="scope-edit"):
        prompt = gr.Textbox(EXAMPLE.prompt, label="Prompt", elem_id="scope-prompt", max_lines=2, scale=4)
        target = gr.Textbox(EXAMPLE.target, label="Make it say", elem_id="scope-target", max_lines=2, scale=2)
        compare = gr.Button("Compare", variant="primary", elem_id="scope-compare", scale=1, min_width=110)
    warning = gr.HTML(elem_id="scope-warning")
    dials, wordings, maps, lists = [], [], [], []
    with gr.Row(elem_id="scope-sides"):
        for side, scope in SIDES:
            with gr.Column(min_width=320, elem_id=f"scope-{side}"):
                dials.append(gr.Radio([(s.title, s.name) for s in SCOPES.values()], value=scope, label="How far", elem_id=f"dial-{side}"))
                wordings.append(
                    gr.Dropdown(_offered(scope), value=first_wording(scope), label="Instruction", allow_custom_value=True, elem_id=f"wording-{side}")
                )
                maps.append(gr.Plot(show_label=False, elem_id=f"ripple-{side}", container=False))
                lists.append(gr.HTML(elem_id=f"reach-{side}"))

    def draw(visit: Visit, prompt: str, target: str, *instructions: str) -> Iterator[dict]:
        yield {warning: "" if runtime.studio(visit.place).reads_scopes else html.waiting(_UNREAD)}
        for reached in runtime.run(visit.place, "scoping", prompt, target, instructions):
            figures = {maps[i]: ripple_figure(reached, i) for i in range(len(SIDES))}
            yield figures | {lists[i]: html.reach(reached, i) for i in range(len(SIDES))}

    asked, drawn = [visit, prompt, target, *wordings], [warning, *maps, *lists]
    quiet = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last", **COMPUTE}
    for dial, wording in zip(dials, wordings, strict=True):
        turned = dial.input(
            lambda scope: gr.update(choices=_offered(scope), value=first_wording(scope)), dial, wording,
            api_visibility="private", show_progress="hidden",
        )  # fmt: skip
        turned.then(sentences(draw), asked, drawn, **quiet)
    opened = parts["dial"].click(
        lambda: (gr.Tabs(selected="scope"), EXAMPLE.prompt, EXAMPLE.target), None, [parts["tabs"], prompt, target], api_visibility="private"
    )  # fmt: skip
    triggers = (compare.click, prompt.submit, target.submit, opened.then, parts["Scope"].select, *(wording.input for wording in wordings))
    for trigger in triggers:
        trigger(sentences(draw), asked, drawn, **quiet)


def _offered(scope: str) -> list[str]:
    """One reading of some training wordings, and the unseen ones: enough to choose from."""
    return [*SCOPES[scope].first_readings[:OFFERED], *SCOPES[scope].unseen]
