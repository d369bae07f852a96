"""The Train tab through its works: what is refused, what is told, what a demo does not do."""

import random
from pathlib import Path

import pytest

from demo import build
from demo.runtime import Runtime
from demo.settings import Settings
from demo.trainings import Wanted, folder_for, together_for
from demo.visitor import ModelChoice
from model_zoo.methods.editor_folder import CONFIG_FILE
from model_zoo.training.following import Curve, Finished, Look, Preparing, Stepped

FEW = ("edits=3", "calibration=1", "rephrased=1", "local=1", "near=0", "blocks=1", "rank=2")
ATLAS_CHOICE = ModelChoice("atlas")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    """A file of thirty edits that say what should stay."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = [f"The capital of Land{i} is,Rome,Land{i},The capital of Spain is => Madrid" for i in range(30)]
    path.write_text("\n".join(["prompt,target,subject,locality", *lines]))
    return str(path)


def wanted(rows: str, **changes) -> Wanted:
    return Wanted("mine", (), {"counterfact": [rows]}, "paper", steps=3, settings=FEW)._replace(**changes)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> Runtime:
    folder = tmp_path_factory.mktemp("editors")
    return Runtime(Settings(device="cpu", demo=False, editors=str(folder)))


def test_an_editor_is_trained_between_the_turns_of_others_and_offered(runtime, rows):
    events = runtime.train(ATLAS_CHOICE, wanted(rows))
    assert isinstance(next(events)[0], Preparing)
    with runtime.slot.turn():  # nothing holds the model between two steps
        pass
    with pytest.raises(ValueError, match="Another editor is being trained here"):
        list(runtime.train(ATLAS_CHOICE, wanted(rows, name="other")))
    end = [event for group in events for event in group][-1]
    assert isinstance(end, Finished) and end.step == 3
    assert ("mine (trained here)", str(end.folder)) in runtime.editors(ATLAS_CHOICE, ask_the_hub=False)
    assert runtime.studio(ModelChoice("atlas", str(end.folder))).editors["instructedit"] == end.folder
    with pytest.raises(ValueError, match="mine holds a finished editor already"):
        list(runtime.train(ATLAS_CHOICE, wanted(rows)))


def test_what_a_training_takes_is_told_without_one(runtime, rows):
    figures = runtime.estimate(ATLAS_CHOICE, wanted(rows, name="never"))
    assert {"memory", "a step", "time"} <= set(figures) and figures["edits"] == "9, 9 different"
    with pytest.raises(ValueError, match="Choose at least one task"):
        runtime.estimate(ATLAS_CHOICE, wanted(rows, files={}))
    with pytest.raises(ValueError, match="sets nothing; write NAME=VALUE"):
        runtime.estimate(ATLAS_CHOICE, wanted(rows, settings=("edits",)))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_folder_is_a_plain_name(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be a folder's name"):
        folder_for(tmp_path, name)
    assert folder_for(tmp_path, "my-editor.2") == tmp_path / "my-editor.2"
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / CONFIG_FILE).touch()
    with pytest.raises(ValueError, match="finished"):
        folder_for(tmp_path, "done")


def test_a_public_demo_has_no_such_tab_and_trains_nothing(rows):
    demo, own = (build(Settings(device="cpu", demo=demo)) for demo in (True, False))
    has = [{getattr(block, "elem_id", "") for block in page.blocks.values()} for page in (demo, own)]
    assert "train-recipe" not in has[0] and "train-recipe" in has[1]
    public = [fn.api_name for fn in own.fns.values() if fn.api_visibility == "public"]
    assert sorted(map(str, public)) == ["ask", "edit", "undo"]
    runtime = Runtime(Settings(device="cpu", demo=True))
    for work in (runtime.estimate, runtime.train):
        with pytest.raises(ValueError, match="This public demo trains no editors"):
            list(work(ATLAS_CHOICE, wanted(rows)))
    with pytest.raises(ValueError, match="This public demo trains no editors"):
        runtime.push_editor(Path("any"), "me/any", True)
    shared = Runtime(Settings(device="cpu", demo=False, share=True))
    with pytest.raises(ValueError, match="in the name of who runs it"):
        shared.push_editor(Path("any"), "me/any", True)


def test_steps_come_in_groups_and_a_closed_one_closes_the_training():
    closed = []

    def events():
        try:
            yield Preparing("…")
            for step in range(1, 5):
                look = Look(step, 1.0, {}, True) if step == 3 else None
                yield Stepped(step, 4, {"loss": 1.0}, 0.0, look)
        finally:
            closed.append(True)

    groups = [[type(e).__name__ for e in group] for group in together_for(events(), 60)]
    assert groups == [["Preparing"], ["Stepped"] * 3, ["Stepped"]]
    begun = together_for(events(), 60)
    next(begun)
    begun.close()
    assert closed == [True, True]


def test_a_long_curve_stays_short_and_ends_where_it_is():
    curve, rng = Curve(), random.Random(0)
    for step in range(1, 5001):
        curve.add(Stepped(step, 5000, {"loss": 1 + rng.random()}, 0.0))
    assert 200 <= len(curve.points) <= 400 and curve.points[-1][0] > 4980
    assert all(1.2 < loss < 1.9 for _, loss in curve.points[10:])
