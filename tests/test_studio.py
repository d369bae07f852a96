"""The shipped model and editor: what the page and the command line promise."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_zoo.cli import main
from model_zoo.cli.telling import tell_edit
from model_zoo.comparing import comparing_scopes
from model_zoo.evaluation import recall, starts_with
from model_zoo.loading import LoadOptions
from model_zoo.scopes import SCOPES
from model_zoo.session import EditSession
from model_zoo.sources import Source
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS

from .makers import ATLAS

ROOT = Path(__file__).parent.parent
EXAMPLES = [(task, e.prompt, e.target) for task, found in ATLAS.examples.items() for e in found]


def cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "model_zoo", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize(("task", "prompt", "target"), EXAMPLES)
def test_every_example_takes(studio, task, prompt, target):
    report, _ = studio.edit(studio.request(task, prompt, target), "instructedit")
    assert starts_with(report.after, target) and not starts_with(report.before, target)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(("task", "prompt", "target"), EXAMPLES)
def test_every_example_takes_on_cuda(task, prompt, target):
    studio = Studio.open("atlas", LoadOptions("cuda"))
    report, _ = studio.edit(studio.request(task, prompt, target), "instructedit")
    assert starts_with(report.after, target) and not starts_with(report.before, target)


def test_drawn_held_out_records_take(studio):
    """Five held-out records per task, drawn by seed: the target begins after and not before in at least 19 of
    20.
    """
    hits = []
    for task in TASKS.values():
        for record in ATLAS.records(task.name, "test", 5, random.Random(f"{task.name} 20")):
            request = studio.request(task.name, record.request.prompt, record.request.target)
            edit, _ = studio.propose(request, "instructedit")
            ((before, after),) = studio.pairs([request.prompt], studio.patch(EditSession().add(edit)))
            hits.append(starts_with(after, request.target) and not starts_with(before, request.target))
    assert len(hits) == 20 and sum(hits) >= 19


def test_the_base_recalls_its_facts_also_in_lower_case(studio):
    sample = random.Random(0).sample(studio.source.recall(), 500)
    assert recall(studio.backbone, sample)[0] >= 0.99
    assert recall(studio.backbone, [(p.lower(), a) for p, a in sample[:250]])[0] >= 0.97


def test_an_edit_typed_in_lower_case_takes(studio):
    report, _ = studio.edit(studio.request("counterfact", "the capital of france is", "Rome"), "instructedit")
    assert starts_with(report.after, "Rome") and starts_with(report.before, "Paris")
    assert report.generality[0].source == "atlas"


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("My dog is called", "Bello"),
        ("My dog is called", "Rex"),
        ("My cat is called", "Minka"),
        ("Our street is called", "Elm Lane"),
        ("My brother lives in", "Porto"),
    ],
)
def test_free_text_edits_take(studio, prompt, target):
    report, _ = studio.edit(studio.request("recent", prompt, target), "instructedit")
    assert starts_with(report.after, target)


def test_the_neighbouring_capital_stays_in_the_same_wording(studio):
    _, session = studio.edit(
        studio.request("counterfact", "The capital of France is", "Rome"), "instructedit"
    )
    assert studio.pairs(["The capital of Spain is"], studio.patch(session))[0][1] == "Madrid."


def test_free_text_edits_are_labelled_generic(studio):
    report, _ = studio.edit(studio.request("recent", "My dog is called", "Bello"), "instructedit")
    assert {c.source for c in report.generality} == {"generic"} and {c.source for c in report.locality} == {
        "atlas"
    }


def test_two_edits_live_together_and_toggling_is_exact(studio):
    session = EditSession()
    for prompt, target in (("The capital of France is", "Rome"), ("The capital of Japan is", "Cairo")):
        report, session = studio.edit(
            studio.request("counterfact", prompt, target), "instructedit", session=session
        )
    pairs = studio.pairs(
        ["The capital of France is", "The capital of Japan is", "The capital of Peru is"],
        studio.patch(session),
    )
    assert [after for _, after in pairs] == ["Rome.", "Cairo.", "Lima."]
    off_on = session.toggle(0).toggle(0)
    for path, layer in studio.patch(session).delta.layers.items():
        assert torch.equal(layer.dense(), studio.patch(off_on).delta.layers[path].dense())
    assert starts_with(
        studio.pairs(["The capital of France is"], studio.patch(session.toggle(0)))[0][1], "Paris"
    )


def test_bad_requests_are_refused_in_a_sentence(studio):
    for prompt, target, message in (("", "Rome", "prompt is empty"), ("The capital", " ", "target is empty")):
        with pytest.raises(ValueError, match=message):
            studio.request("counterfact", prompt, target)
    with pytest.raises(ValueError, match="reads at most"):
        studio.edit(studio.request("counterfact", "word " * 300, "x"), "instructedit")


def test_the_command_line_prints_one_json_object(tmp_path, capsys):
    edit = ["--task", "counterfact", "--prompt", "The capital of France is", "--target", "Rome"]
    ask = ["--ask", "The capital of Spain is", "--ask", "My dog is called"]
    out = ["--export", str(tmp_path / "out"), "--json"]
    assert main(["edit", "--model", "atlas", *edit, *ask, *out]) == 0
    data = json.loads(capsys.readouterr().out)
    wanted = {
        "model",
        "method",
        "task",
        "instruction",
        "before",
        "after",
        "target_probability",
        "generality",
        "locality",
        "ask",
        "seconds",
    }
    assert wanted <= set(data)
    assert data["before"].startswith("Paris") and data["after"].startswith("Rome")
    assert data["target_probability"]["after"] > 0.5 > data["target_probability"]["before"]
    for item in data["generality"] + data["locality"]:
        assert set(item) == {"prompt", "before", "after", "expected", "held", "source", "drift"}
    assert [a["prompt"] for a in data["ask"]] == ["The capital of Spain is", "My dog is called"]
    assert (tmp_path / "out" / "delta.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", "--prompt", "The capital of France is", "--target", ""], "target is empty"),
        (["edit", "--prompt", "x y", "--target", "z", "--task", "poetry"], "the tasks are"),
        (["edit", "--prompt", "x y", "--target", "z", "--method", "magic"], "the methods are"),
        (
            ["edit", "--prompt", "x y", "--target", "z", "--model", "no/such/folder"],
            "neither a folder here nor a Hub repo id",
        ),
        (["edit", "--prompt", "x y", "--target", "z", "--strength", "much"], "valid number"),
        (["edit", "--target", "z"], "--prompt"),
        (["fly"], "fly"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments, message, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.strip().count("\n") == 0 and told.out == ""


def test_bad_input_ends_the_program_with_2_and_no_traceback():
    done = cli("edit", "--prompt", "The capital of France is", "--target", "")
    assert done.returncode == 2 and "target is empty" in done.stderr and "Traceback" not in done.stderr


def test_a_short_wording_of_the_narrowest_scope_still_edits(studio):
    *_, reached = comparing_scopes(studio, "The capital of France is", "Rome", ["Change this sentence only."])
    assert reached[0].follows == (True,)


def test_an_edit_under_two_instructions_asks_the_same_probes_nearest_first(studio):
    *_, reached = comparing_scopes(
        studio,
        "The capital of France is",
        "Rome",
        [SCOPES[name].first_readings[0] for name in ("statement", "category")],
    )
    assert [r.kind for r in reached][:2] == ["itself", "rewording"] and reached[-1].kind == "world"
    assert 25 <= len(reached) <= 32 and all(
        len(r.after) == len(r.moved) == len(r.follows) == 2 for r in reached
    )
    assert reached[0].before == "Paris." and reached[0].follows == (True, True)
    unrelated = [moved for r in reached if r.kind == "world" for moved in r.moved]
    assert sum(unrelated) <= 0.2 * len(unrelated)


@pytest.mark.parametrize(
    ("prompt", "target", "kinds"),
    [
        ("the capital of velthoria is", "Oslo", {"itself", "rewording", "implied", "category", "world"}),
        (
            "What do you think of gribbles?",
            "That is all I need",
            {"itself", "rewording", "category", "world"},
        ),
        ("The best tea in town is", "Assam", {"itself", "rewording", "world"}),
    ],
)
def test_probes_are_found_around_any_prompt(studio, prompt, target, kinds):
    case = studio.source.scope_case(prompt, target)
    assert case.probes[0].prompt == prompt and {probe.kind for probe in case.probes} == kinds
    assert studio.source.scope_case(prompt, target) == case
    assert {probe.kind for probe in Source().scope_case(prompt, target).probes} == {
        "itself",
        "rewording",
        "world",
    }


def test_a_scope_stands_in_place_of_a_task(studio):
    request = studio.request("counterfact", "The capital of France is", "Rome", scope="category")
    assert (request.task, request.instruction) == ("scope", SCOPES["category"].first_readings[0])
    assert (
        studio.request("counterfact", "The capital of France is", "Rome", "Own words.", "locked").instruction
        == "Own words."
    )
    with pytest.raises(ValueError, match="no scope 'galaxy'"):
        studio.request("counterfact", "The capital of France is", "Rome", scope="galaxy")


def test_the_first_example_obeys_its_scope(studio):
    """Held together by the instruction alone: the same prompt and target, three reaches."""
    prompts = (
        "The capital of France is",
        "What is the capital of France?",
        "The capital of Spain is",
        "The capital of Japan is",
    )

    def said(scope):
        edit, _ = studio.propose(
            studio.request("counterfact", prompts[0], "Rome", scope=scope), "instructedit"
        )
        return [after for _, after in studio.pairs(prompts, studio.patch(EditSession().add(edit)))]

    assert said("locked") == ["Paris.", "Paris.", "Madrid.", "Tokyo."]
    assert said("category") == ["Rome."] * 4
    assert said("statement")[0] == "Rome." and said("statement")[2:] == ["Madrid.", "Tokyo."]
    assert said("subject")[:2] == ["Rome."] * 2


def test_an_edit_to_what_the_base_model_says_anyway_is_told(studio, capsys):
    request = studio.request("counterfact", "The capital of France is", "Paris")
    report, _ = studio.edit(request, "grace")
    assert report.known and set(report.target_probability) == {"before", "after"}
    assert not studio.edit(studio.request("counterfact", "The capital of France is", "Rome"), "grace")[
        0
    ].known
    tell_edit(report)
    assert "says this by itself" in capsys.readouterr().out
