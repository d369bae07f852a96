"""What every registered editing method must do, whatever its kind: the contract of model_zoo/methods/base.py.

Everything runs on a pico model with random weights: nothing here is about what an edit achieves, all about
what it may touch.
"""

import json
import pickle
from dataclasses import replace

import gradio as gr
import pytest
import torch

import demo
from demo.settings import Settings
from model_zoo.changes import Change, Patch
from model_zoo.cli import main
from model_zoo.evaluation import Plan
from model_zoo.events import Probabilities, Proposed, TextSoFar, Verdicts
from model_zoo.export import FORMATS, export
from model_zoo.generation import generate, probabilities
from model_zoo.loading import LoadOptions, load
from model_zoo.methods import METHODS, EditMethod, Hyperparameters, controls, hyperparameters
from model_zoo.methods.reader import Reader
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession
from model_zoo.studio import Studio

from .makers import ATLAS, pico_backbone, random_editor, random_reader, save_model

REQUESTS = (
    EditRequest("The capital of France is", "Rome", "counterfact", "Change it.", "France"),
    EditRequest("The capital of Japan is", "Cairo", "counterfact", "Change it.", "Japan"),
    EditRequest("Jazz began in the city of", "Oslo", "counterfact", None, "Jazz"),
)
ASKED = [(r.prompt, r.target) for r in REQUESTS] + [("What do you think of jazz?", "One two")]


@pytest.fixture(scope="module", autouse=True)
def short_texts():
    """Where keys are measured in text that the base model writes, it writes little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_zoo.statistics.WRITTEN", 8)
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """(model folder, {method: folder of a random editor}) of one pico model."""
    folder = save_model(pico_backbone("gpt2"), tmp_path_factory.mktemp("pico") / "base")
    editors = {}
    for method in (m for m in METHODS.values() if m.needs_editor):
        made = random_reader if issubclass(method, Reader) else random_editor
        made(load(folder, LoadOptions("cpu"), "pico"), method=method).save(folder.parent / method.name)
        editors[method.name] = folder.parent / method.name
    return folder, editors


@pytest.fixture(scope="module")
def studio(places) -> Studio:
    folder, editors = places
    return Studio(load(folder, LoadOptions("cpu"), "pico"), "pico", editors, ATLAS)


@pytest.fixture(scope="module", params=sorted(METHODS))
def method(request) -> str:
    return request.param


def few(method: str) -> dict[str, int]:
    """Few steps, of a method that takes steps: what it may touch does not depend on how many."""
    return {"steps": 5} if "steps" in METHODS[method].Hyperparameters.model_fields else {}


@pytest.fixture(scope="module")
def hyper(method) -> Hyperparameters:
    return hyperparameters(method, few(method))


@pytest.fixture(scope="module")
def loaded(studio, method, hyper) -> EditMethod:
    return studio.method(method, hyper)


@pytest.fixture(scope="module")
def edits(studio, method, hyper) -> list[Edit]:
    """Each request's edit by the method, alone."""
    return [studio.propose(request, method, hyper=hyper)[0] for request in REQUESTS]


def stacked(edits: list[Edit]) -> EditSession:
    session = EditSession()
    for edit in edits:
        session = session.add(edit)
    return session


def told(studio: Studio, patch: Patch | None) -> torch.Tensor:
    """How likely each of ASKED is under a patch: equal to the last bit when the patches are."""
    prompts, targets = zip(*ASKED, strict=True)
    return torch.tensor(
        probabilities(studio.backbone, prompts, targets, [patch] * len(ASKED)), dtype=torch.float64
    )


def test_it_declares_what_callers_use(method):
    declared = METHODS[method]
    assert (
        declared.name == method == method.lower()
        and declared.pretty_name
        and declared.reference_url.startswith("https")
    )
    assert issubclass(declared.kind, Change) and declared.kind.title
    for control in controls(declared.Hyperparameters):
        assert (
            control.title
            and control.description
            and (control.low is not None or control.choices or control.kind is bool)
        )


def test_proposing_gives_one_change_each_and_leaves_the_base_alone(studio, loaded, method):
    before = [p.clone() for p in studio.backbone.model.parameters()]
    found, again = loaded.propose(REQUESTS), loaded.propose(REQUESTS)
    assert len(found) == len(REQUESTS) and all(isinstance(change, METHODS[method].kind) for change in found)
    assert all(torch.equal(a, b) for a, b in zip(before, studio.backbone.model.parameters(), strict=True))
    for one, other in zip(found, again, strict=True):
        assert torch.equal(told(studio, Patch((one,))), told(studio, Patch((other,))))


def test_the_order_of_a_stack_does_not_matter(studio, edits):
    one, other = stacked(edits), stacked(edits[::-1])
    assert torch.allclose(
        told(studio, studio.patch(one)), told(studio, studio.patch(other)), rtol=1e-3, atol=1e-7
    )


def test_undo_toggle_and_a_second_reading_are_exact(studio, edits):
    first, all_on = stacked(edits[:1]), stacked(edits)
    expected = told(studio, studio.patch(all_on))
    assert torch.equal(told(studio, studio.patch(all_on.toggle(1).toggle(1))), expected)
    assert torch.equal(told(studio, studio.patch(all_on.undo().redo())), expected)
    assert torch.equal(told(studio, studio.patch(all_on.undo().undo())), told(studio, studio.patch(first)))
    assert torch.equal(told(studio, studio.patch(all_on.clear())), told(studio, None))


def test_strength_zero_is_the_base_and_others_work_or_are_refused_in_a_sentence(studio, edits):
    nothing = [replace(edit, strength=0.0) for edit in edits]
    assert torch.equal(told(studio, studio.patch(stacked(nothing))), told(studio, None))
    mixed = [*nothing[:2], edits[2]]
    assert torch.equal(
        told(studio, studio.patch(stacked(mixed))), told(studio, studio.patch(stacked(edits[2:])))
    )
    if edits[0].change.scales:
        half = told(studio, studio.patch(stacked([replace(edits[0], strength=0.5)])))
        assert not torch.equal(half, told(studio, studio.patch(stacked(edits[:1]))))
    else:
        with pytest.raises(ValueError, match="either on"):
            replace(edits[0], strength=0.5)


def test_rows_of_a_batch_do_not_see_each_others_edits(studio, edits):
    """Beside any other edit a row says what it says beside the base."""
    (prompt, target), one, two = ASKED[0], *(studio.patch(stacked([edit])) for edit in edits[:2])

    def likely(patches) -> list[float]:
        return probabilities(studio.backbone, [prompt] * 3, [target] * 3, patches)

    base, own, other = likely([None, one, two]), likely([None, one, None]), likely([None, None, two])
    assert base[0] == pytest.approx(own[0], rel=1e-4) == pytest.approx(other[0], rel=1e-4)
    assert base[1] == pytest.approx(own[1], rel=1e-4) and base[2] == pytest.approx(other[2], rel=1e-4)
    texts = generate(studio.backbone, [prompt] * 3, [None, one, two], 6)
    assert texts[0] == generate(studio.backbone, [prompt], None, 6)[0]
    assert texts[1] == generate(studio.backbone, [prompt], [one], 6)[0]


def test_edits_and_sessions_pickle(studio, edits):
    again = pickle.loads(pickle.dumps(stacked(edits)))
    assert [edit.request for edit in again.edits] == list(REQUESTS)
    assert torch.equal(told(studio, studio.patch(again)), told(studio, studio.patch(stacked(edits))))


def test_together_and_one_after_another_are_made_or_refused_in_a_sentence(loaded, method):
    assert isinstance(loaded.together(REQUESTS), METHODS[method].kind)
    first = loaded.extend(None, REQUESTS[0])
    try:
        assert isinstance(loaded.extend(first, REQUESTS[1]), METHODS[method].kind)
    except ValueError as refusal:
        assert str(refusal).endswith(".")


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_works_or_refuses_in_a_sentence(studio, edits, name, tmp_path):
    session = stacked(edits)
    patch = studio.patch(session)
    if edits[0].change.has_weights:
        assert (export(studio.backbone, session, patch, name, tmp_path / "out") / "README.md").exists()
        return
    with pytest.raises(ValueError, match="holds weight changes") as refusal:
        export(studio.backbone, session, patch, name, tmp_path / "out")
    assert str(refusal.value).endswith(".") and not (tmp_path / "out").exists()


def test_directions_are_there_or_refused_in_a_sentence(loaded):
    if loaded.has_directions:
        assert all(
            layer.D is None for delta in loaded.directions(REQUESTS) for layer in delta.layers.values()
        )
    else:
        with pytest.raises(ValueError, match="no directions here"):
            loaded.directions(REQUESTS)


def test_a_missing_subject_is_asked_for(studio, method, hyper):
    nameless = EditRequest("one two three", "four")
    if METHODS[method].needs_subject:
        with pytest.raises(ValueError, match="name its subject"):
            studio.propose(nameless, method, hyper=hyper)
    else:
        assert studio.propose(nameless, method, hyper=hyper)[0].request == nameless


def test_its_life_is_one_stream_of_events(studio, method, hyper):
    kinds = [type(event) for event in studio.life(REQUESTS[0], method, hyper=hyper)]
    assert (
        kinds[0] is Proposed and kinds[-2:] == [Probabilities, Verdicts] and set(kinds[1:-2]) == {TextSoFar}
    )


def test_it_is_evaluated(studio, method):
    plan = Plan("pico", (method,), ("counterfact",), 2, hyperparameters={method: few(method)})
    *_, (_, _, results) = studio.measure(plan)
    assert {s["metric"] for s in results.summary} >= {"reliability", "generality", "locality"}


def some_setting(method: str) -> dict[str, object]:
    """A hyperparameter of the method at a value that is not its default."""
    for control in controls(METHODS[method].Hyperparameters):
        if control.kind in (int, float):
            twice = control.default * 2
            return {control.name: control.kind(twice if twice <= (control.high or 1e9) else control.high)}
    return {}


def test_the_command_line_offers_it_and_its_hyperparameters(places, method, capsys):
    folder, editors = places
    given = ["--editor", str(editors[method])] if method in editors else []
    for name, value in (some_setting(method) | few(method)).items():
        given += ["--set", f"{name}={value}"]
    request = [
        "--prompt",
        "The capital of France is",
        "--target",
        "Rome",
        "--method",
        method,
        "--device",
        "cpu",
        "--json",
    ]
    assert main(["edit", "--model", str(folder), *request, *given]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["method"] == method and report["subject"] == "France"
    assert main(["edit", "--model", str(folder), *request, *given, "--set", "no_such=1"]) == 2
    assert "has no hyperparameter 'no_such'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pages() -> dict:
    """Pages that were built, by their editor: methods that need none share one."""
    return {}


@pytest.fixture(scope="module")
def page(places, pages, method):
    folder, editors = places
    editor = str(editors[method]) if method in editors else None
    if editor not in pages:
        pages[editor] = demo.build(Settings(model=str(folder), device="cpu", editor=editor))
    return pages[editor]


def component(page, elem_id: str):
    return next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == elem_id)


def handler(page, elem_id: str, event: str):
    """The function that an event of a component runs, with the numbers of its inputs."""
    block = component(page, elem_id)
    found = [fn for fn in page.fns.values() if (block._id, event) in fn.targets and len(fn.inputs) > 0]
    return found[-1]


def test_the_page_offers_it_and_its_hyperparameters(page, method):
    assert (METHODS[method].pretty_name, method) in component(page, "method").choices
    for control in controls(METHODS[method].Hyperparameters):
        for prefix in ("hyper", "measured"):
            assert component(page, f"{prefix}-{method}-{control.name}").value == control.default


def test_the_pages_stack_and_the_endpoint_take_it(page, places, method):
    """The handlers that the page's events and the endpoint /edit run, on a visitor's own state."""
    apply = next(fn for fn in page.fns.values() if fn.name == "apply")
    state = next(block for block in apply.inputs if type(block).__name__ == "State").value
    values = {block._id: getattr(block, "value", None) for block in apply.inputs}
    values |= {component(page, "method")._id: method, component(page, "target")._id: "Rome"}
    values |= {component(page, "prompt")._id: "The capital of France is", component(page, "subject")._id: ""}
    values |= {component(page, f"hyper-{method}-{name}")._id: value for name, value in few(method).items()}
    values[apply.inputs[0]._id] = state
    seen: dict = {}
    for update in apply.fn(*(values[block._id] for block in apply.inputs)):
        seen |= {getattr(block, "elem_id", None) or "state": value for block, value in update.items()}
    made = seen["state"].session
    assert (
        [edit.method for edit in made.edits] == [method]
        and "Rome" in seen["pair"]
        and "What changed" in seen["changes"]
    )
    tick = handler(page, "stack", "select")
    (box,) = seen["stack"]["value"]
    gone, clicked = (gr.SelectData(None, {"index": 0, "value": value}) for value in ("an edit undone", box))
    assert next(tick.fn(seen["state"], gone))[tick.inputs[0]].session == made
    said = [str(value) for update in tick.fn(seen["state"], clicked) for value in update.values()]
    assert any("No edit is on" in text for text in said)
    edit = next(fn for fn in page.fns.values() if fn.api_name == "edit")
    folder, _ = places
    given = [
        seen["state"],
        str(folder),
        "counterfact",
        "",
        "The capital of Japan is",
        "Cairo",
        1.0,
        method,
        "",
        "",
    ]
    ((report, state),) = edit.fn(*given)
    assert report["method"] == method and [e.method for e in state.session.edits] == [method, method]
