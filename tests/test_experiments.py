"""The study's machinery on a pico model: editors are trained once, rows carry their intervals, the document
says what the JSON says.
"""

import json
import random
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
import torch

from model_zoo.directions import DirectionSpace
from model_zoo.evaluation.scoring import Case, Row
from model_zoo.experiments import EXPERIMENTS, Lab, get_experiment
from model_zoo.experiments.instructions import WORDINGS_BY_NAME
from model_zoo.experiments.pairing import ahead
from model_zoo.experiments.render import as_csv, svg
from model_zoo.experiments.results import document, read
from model_zoo.methods.capture import prefix_mask, request_row
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.mend import MEND
from model_zoo.request import EditRequest
from model_zoo.tasks import TASKS
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from .makers import ATLAS, pico_backbone

pytestmark = pytest.mark.usefixtures("few_statements")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(pico_backbone("gpt2"), ATLAS, tmp_path_factory.mktemp("editors"), n=2, steps=1, trainings=2)


def test_an_editor_is_trained_once_for_each_configuration(lab):
    first, again = lab.editor(tasks=("recent",), edits=3), lab.editor(tasks=("recent",), edits=3)
    assert len(list(lab.cache.glob("instructedit-0-*"))) == 1
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True)
    )
    lab.editor(tasks=("recent",), edits=3, method=MEND)
    assert len(list(lab.cache.glob("mend-0-*"))) == 1


def test_several_trainings_are_averaged_per_edit_and_each_mean_is_kept(lab):
    cases = lab.cases(("recent",))
    rows = lab.measure("two", [lab.editor(seed, tasks=("recent",), edits=3) for seed in (0, 1)], cases)
    reliability = next(r for r in rows if r["metric"] == "reliability" and r["score"] == "teacher_forced")
    assert reliability["n"] == 2 and len(reliability["trainings"]) == 2
    assert reliability["mean"] == pytest.approx(sum(reliability["trainings"]) / 2)


def test_the_document_holds_what_the_json_holds_and_the_command_that_makes_it(lab, tmp_path):
    rows = lab.measure("no edit", [None], lab.cases(("recent",)))
    data = {"experiment": "methods", "config": lab.config(), "rows": rows}
    (tmp_path / "methods.json").write_text(json.dumps(data))
    text = document(read(tmp_path), "found/here", "docs/R.md")
    local = next(r for r in rows if r["metric"] == "locality" and r["score"] == "generated")
    assert f"| {local['mean']:.1%} |" in text and "Over the trained tasks no edit comes to" in text
    assert str(local["low"]) in as_csv(rows) and len(as_csv(rows).splitlines()) == len(rows) + 1
    assert (
        f"run methods --model {lab.backbone.name} --recipe paper --n 2 --seed 0 --steps 1 --trainings 2"
        in text
    )
    assert text.startswith(f"# Results: {lab.backbone.name}\n\nOne question") and "Not run yet" in text
    assert "![Methods](../found/here/methods.svg)" in text and "report --results found/here" in text
    figure = ElementTree.fromstring(
        svg(EXPERIMENTS["methods"].view, [{**row, "variant": "w" * 80} for row in rows])
    )
    label = next(
        text for text in figure.iter("{http://www.w3.org/2000/svg}text") if text.text.startswith("www")
    )
    assert float(label.get("x")) > 6.5 * len(label.text)  # it ends there, and begins inside the figure


def test_every_wording_of_the_instruction_study_is_what_its_name_says(lab):
    case = lab.cases(("counterfact",))["counterfact"][0]
    said = {name: wording(case, random.Random(0)) for name, wording in WORDINGS_BY_NAME.items()}
    task = TASKS["counterfact"]
    assert (
        said["the held-out wording"] == task.held_out_instruction
        and said["a wording from training"] in task.training_instructions
    )
    assert said["no instruction"] is None and sorted(said["its words shuffled"].split()) == sorted(
        task.held_out_instruction.split()
    )
    assert said["another task's wording"] not in task.instructions and len(
        said["three times as long"]
    ) > 2.5 * len(task.held_out_instruction)


def test_directions_without_the_prefixs_rows(lab):
    atlas = DirectionSpace(lab.backbone, lab.editor(tasks=("recent",), edits=3), lab.source, per_task=3)
    instructed, plain = atlas.requests(True), atlas.requests(False)
    for view in ("gradient", "update"):
        whole, bare = (
            atlas.directions(instructed[:2], view),
            atlas.directions(instructed[:2], view, prefix_rows=False),
        )
        path = next(iter(whole[0].layers))
        assert 0 < bare[0].layers[path].rank < whole[0].layers[path].rank
        assert bare[0].layers[path].rank == pytest.approx(
            atlas.directions(plain[:2], view)[0].layers[path].rank, abs=2
        )
    scores = atlas.separation(instructed, "update")
    assert scores["silhouette_full"] == pytest.approx(atlas.map("update", True).silhouette_full, abs=1e-6)


def test_the_prefixs_mask_leaves_the_whole_prompt(lab):
    request = EditRequest("France has as its capital", "Rome", "counterfact", "Overwrite the stored answer.")
    row = request_row(lab.backbone, request)
    kept = ~prefix_mask([row], len(row.ids))[0]
    text = lab.backbone.tokenizer.decode([i for i, keep in zip(row.ids, kept.tolist(), strict=True) if keep])
    assert text.strip() == "France has as its capital Rome"


def test_shares_and_the_absence_of_questions_are_obeyed():
    def trainer(**changes):
        config = MetaConfig(
            steps=2, edits=40, rephrased=2, local=1, blocks=2, calibration=1, near=0, **changes
        )
        return MetaTrainer(pico_backbone("gpt2"), ATLAS, config, HyperConfig(rank=8), seed=1)

    skewed = trainer(shares=(8.0, 1.0, 1.0)).drawn.examples(0).examples
    assert len(skewed) == 40
    run = trainer(tasks=("counterfact", "recent"), outer_questions=False)
    decode = run.backbone.tokenizer.decode
    assert not any("?" in decode(row.ids) for e in run.drawn.examples(0).examples for row in e.follow)


def test_unknown_experiments_are_told():
    with pytest.raises(ValueError, match="the experiments are: methods, baselines, network, tasks"):
        get_experiment("alchemy")
    assert all(e.question.endswith("?") for e in EXPERIMENTS.values())


def test_what_was_measured_is_kept_and_taken_again(lab, monkeypatch):
    cases = lab.cases(("recent",))["recent"]
    first = lab.rows(None, cases)
    monkeypatch.setattr("model_zoo.experiments.lab.evaluate_cases", None)  # nothing is measured any more
    assert lab.rows(None, cases) == first
    with pytest.raises(TypeError):
        lab.rows(None, cases[:1])


def test_settings_of_the_recipe_make_another_editor_and_stand_in_the_command(lab):
    plain, changed = (
        lab.editor(tasks=("recent",), edits=3),
        replace(lab, settings={"rank": "4", "edits": "3"}),
    )
    assert changed.editor(tasks=("recent",)).config.hyper.rank == 4 != plain.config.hyper.rank
    with pytest.raises(ValueError, match="itself says steps of its editors"):
        replace(lab, settings={"steps": "3"}).editor()
    chosen = replace(lab, settings={"tasks": '["recent"]'}, files={"data": ["recent=my own.json"]})
    data = {"config": chosen.config(), "rows": lab.measure("no edit", [None], lab.cases(("recent",)))}
    text = document({"methods": data}, "r", "R.md")
    told = f"--model {lab.backbone.name} --recipe paper --n 2 --seed 0 --steps 1 --trainings 2"
    assert f"""run methods --data 'recent=my own.json' --set 'tasks=["recent"]' {told}""" in text
    assert "trained on the records of the files" in text and "run NAME --data 'recent" in text


def hits(cases: dict[str, list[Case]], hit, metrics=("reliability", "locality")) -> dict[str, list[Row]]:
    """Rows of a training: what `hit` says of each figure and case's number."""
    return {
        task: [
            Row(case.index, metric, "p", "e", "b", "a", hit(metric, i), None)
            for i, case in enumerate(part)
            for metric in metrics
        ]
        for task, part in cases.items()
    }


def test_a_method_is_ahead_as_far_as_the_tables_say(lab):
    cases = lab.cases(("recent", "counterfact", "zsre"))
    own = [hits(cases, lambda metric, i: 1.0), hits(cases, lambda metric, i: 0.5)]
    other = [hits(cases, lambda metric, i: float(i and metric != "locality")) for _ in own]
    # one of the tasks alone has generality
    alone, figure = {"recent": cases["recent"]}, ("generality",)
    for one, two in zip(own, other, strict=True):
        one["recent"] += hits(alone, lambda metric, i: 1.0, figure)["recent"]
        two["recent"] += hits(alone, lambda metric, i: 0.0, figure)["recent"]
    found = list(ahead("InstructEdit against MEND", own, other, cases, seed=0))
    told = {(row["held_out"], row["metric"]): row for row in found}
    both = told[False, "mean of the three figures"]
    assert both["n"] == 4 and both["mean"] == pytest.approx((0.25 + 1.0 + 0.75) / 3)
    assert both["trainings"] == pytest.approx([(0.5 + 1.0 + 1.0) / 3, (0.0 + 1.0 + 0.5) / 3])
    assert told[True, "reliability alone"]["mean"] == pytest.approx(0.25)
    assert all(row["low"] <= row["mean"] <= row["high"] for row in found)
    rows = lab.measure("no edit", [None], cases)
    data = {"config": lab.config(), "rows": rows + found}
    text = document({"methods": data}, "r", "R.md")
    assert (
        "MEND; over the trained tasks: mean of the three figures +66.7 points [" in text
        and "(+83.3 / +50.0 by training)" in text
        and "by training). The paper" in text
    )


def test_where_a_mood_is_wanted_the_difference_is_whether_it_is_voiced(lab):
    cases = lab.cases(("convsent",))
    said = hits(cases, lambda metric, i: 0.0, ("reliability",))
    voiced = {task: [replace(row, sentiment=1.0) for row in rows] for task, rows in said.items()}
    assert [row["mean"] for row in ahead("a", [voiced], [said], cases, 0)] == [1.0, 1.0]
