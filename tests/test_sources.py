"""Sources of records: files split by subject, what a source that knows nothing says, subjects, kept
statistics.
"""

import json
import random

import pytest
import torch

from model_zoo import statistics
from model_zoo.evaluation import Plan
from model_zoo.evaluation.planning import plan_cases
from model_zoo.methods import assignments, controls, hyperparameters
from model_zoo.methods.ft_l import FTLHyperparameters
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.request import EditRequest
from model_zoo.sources import FileSource, Source, files_by_task
from model_zoo.subjects import find_subject
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from .makers import ATLAS, pico_backbone


@pytest.fixture
def rows(tmp_path):
    """A file of 60 records on 30 subjects, two of each."""
    made = [
        {
            "prompt": f"The {part} of Land{i} is",
            "target_new": "Rome",
            "subject": f"Land{i}",
            "ground_truth": f"Town{i}",
            "rephrase_prompt": f"Land{i} has the {part}",
            "locality_prompt": f"The river of Land{i} is",
            "locality": {"near": [{"prompt": f"The river of Land{i} is", "ground_truth": f"River{i}"}]},
        }
        for i in range(30)
        for part in ("capital", "largest town")
    ]
    path = tmp_path / "records.json"
    path.write_text(json.dumps(made))
    return path


def test_a_files_subjects_belong_to_one_split(rows):
    source = FileSource({"counterfact": [rows]})
    train, test = (source.records("counterfact", split, 40, random.Random(0)) for split in ("train", "test"))
    own, aside = {r.subject for r in train}, {r.subject for r in test}
    assert own and aside and own.isdisjoint(aside) and len(train) == len(test) == 40
    given = FileSource({"counterfact": [rows]}, {"counterfact": [rows]})
    with pytest.raises(ValueError, match="no record of the split 'train'"):
        given.records("counterfact", "train", 1, random.Random(0))
    assert all(pair[1].startswith("River") for pair in source.statements())
    assert [len(pairs) > 1 for pairs in source.relations()] == [True, True]


def test_each_held_out_edit_is_measured_once(rows):
    plan = Plan("gpt2", (), ("counterfact",), 100)
    cases = plan_cases(plan, pico_backbone("gpt2"), FileSource({"counterfact": [rows]})).cases["counterfact"]
    assert 0 < len({case.record for case in cases}) == len(cases) < 60


def test_an_editor_trains_on_files(rows, tmp_path):
    config = MetaConfig(
        tasks=("counterfact",), steps=2, edits=2, blocks=1, calibration=1, rephrased=1, local=1
    )
    source = FileSource({"counterfact": [rows]})
    editor = MetaTrainer(pico_backbone("gpt2"), source, config, HyperConfig(rank=4), seed=1).run(
        tmp_path / "out"
    )
    assert editor.config.tasks == ("counterfact",)
    with pytest.raises(ValueError, match="has no records of recent"):
        MetaTrainer(pico_backbone("gpt2"), source, MetaConfig(tasks=("recent",)))
    with pytest.raises(ValueError, match="has no scope cases"):
        MetaTrainer(pico_backbone("gpt2"), source, MetaConfig(tasks=("counterfact",), scope_share=0.5))


def test_what_a_source_that_knows_nothing_says():
    nothing = Source()
    with pytest.raises(ValueError, match="no records of the task recent at hand"):
        nothing.records("recent", "test", 1, random.Random(0))
    for asked in (nothing.statements, nothing.relations):
        with pytest.raises(ValueError, match="none are at hand"):
            asked()
    assert nothing.evidence("Anything at all").generality_source == "generic"
    with pytest.raises(ValueError, match="write task=FILE"):
        files_by_task(["counterfact"])
    assert files_by_task(["recent=a.json,b.json", "recent=c.json"]) == {
        "recent": ["a.json", "b.json", "c.json"]
    }


@pytest.mark.parametrize(
    ("prompt", "names", "subject"),
    [
        ("The capital of France is", (), "France"),
        ("The mother tongue of Danielle Darrieux is", (), "Danielle Darrieux"),
        ("What is the capital of the Republic of the Congo?", (), "Republic of the Congo"),
        ("the capital of france is", ("France", "Fran"), "france"),
        ("法国的首都是", ("法国",), "法国"),
        ("the iPhone is made by", (), "iPhone"),
        ("My dog is called", (), None),
        ("Franconia lies in", ("Franc",), "Franconia"),
    ],
)
def test_a_subject_is_found_as_it_stands(prompt, names, subject):
    assert find_subject(prompt, names) == subject


def test_the_atlas_knows_its_subjects_in_any_case():
    assert ATLAS.subject("the capital of france is") == "france"
    assert ATLAS.subject("What do you think of jazz?") == "jazz"


def test_a_subject_stands_in_its_prompt():
    assert EditRequest("The capital of France is", "Rome", subject="France").subject == "France"
    with pytest.raises(ValueError, match="does not stand in the prompt"):
        EditRequest("The capital of France is", "Rome", subject="Spain")


def test_statistics_are_kept_by_model_and_rows(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path))
    backbone, pairs, said = (
        pico_backbone("gpt2"),
        [("The capital of France is", "Paris"), ("One two", "three")],
        [],
    )
    paths = backbone.last_blocks(1)
    first = statistics.key_covariance(backbone, pairs, paths, said.append)
    again = statistics.key_covariance(backbone, pairs, paths, said.append)
    assert said == ["Measuring keys: 2 of 2 rows"]  # the second time they were read
    assert all(torch.equal(first[path], again[path]) for path in paths)
    statistics.key_covariance(backbone, pairs[:1], paths, said.append)
    statistics.key_covariance(pico_backbone("gpt2", seed=1), pairs, paths, said.append)
    assert len(said) == 3 and len(list((tmp_path / "statistics").rglob("*.safetensors"))) == 3
    with pytest.raises(ValueError, match="at least one row"):
        statistics.key_covariance(backbone, [], paths)


def test_hyperparameters_are_checked_in_sentences():
    assert hyperparameters("ft-l", assignments(["steps=7", "lr=0.1"])) == FTLHyperparameters(steps=7, lr=0.1)
    for given, message in (
        ("steps=0", "steps of FT-L"),
        ("magic=1", "it has: steps"),
        ("steps", "NAME=VALUE"),
    ):
        with pytest.raises(ValueError, match=message):
            hyperparameters("ft-l", assignments([given]))
    with pytest.raises(ValueError, match="it has none"):
        hyperparameters("instructedit", {"steps": 3})
    bounds = {c.name: (c.low, c.high) for c in controls(FTLHyperparameters)}
    assert bounds["steps"] == (1, 1000) and bounds["epsilon"] == (0, 10)
