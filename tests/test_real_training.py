"""Training on records: published shapes, others in the edit's wording, what follows a target, kept trunks."""

import json
from dataclasses import replace

import pytest
import torch

from model_zoo.benchmarks import read
from model_zoo.sources import FileSource
from model_zoo.training.config import REAL, REAL_NETWORK
from model_zoo.training.estimate import estimate
from model_zoo.training.meta import MetaTrainer

from .makers import pico_backbone

CITIES = [("Ara", "Bor"), ("Cel", "Dun"), ("Eno", "Fal"), ("Gil", "Hun"), ("Ivo", "Jar"), ("Kol", "Lim")]
SMALL = replace(REAL, tasks=("counterfact",), steps=4, edits=3, behind=3, calibration=2, blocks=2)


@pytest.fixture
def source(tmp_path) -> FileSource:
    """Rows of one wording, in the shape of EasyEdit's CounterFact."""
    rows = [
        {
            "prompt": f"The city of {name} lies in",
            "target_new": other,
            "ground_truth": name[::-1],
            "subject": name,
            "rephrase_prompt": f"{name} is a city of",
            "locality_prompt": "One two",
            "locality_ground_truth": "three",
        }
        for name, other in CITIES
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    return FileSource({"counterfact": [path]}, {})


def read_rows(tmp_path, rows, task=None):
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(rows))
    return read(path, task)


def test_flat_locality_is_read(source):
    record = source._training()[0]
    assert [(p.prompt, p.answer) for p in record.locality] == [("One two", "three")]


def test_rows_under_one_language_are_read_with_the_old_value_as_truth(tmp_path):
    row = {"subject": "Ara", "src": "Ara plays for", "rephrase": "Ara is with", "alt": "Bor", "old": "Cel"}
    found = read_rows(
        tmp_path, [{"en": row | {"loc": "Dun plays for", "loc_ans": "Eno"}}, {"en": row | {"loc": ""}}]
    )
    full, bare = found.records
    assert (full.truth, full.paraphrases, full.locality[0].answer) == ("Cel", ("Ara is with",), "Eno")
    assert bare.locality == ()


def test_published_opinions_become_an_edit_for_each_sentiment(tmp_path):
    found = read_rows(
        tmp_path, [{"ent": "jazz", "pos": [" I love it. "], "neg": ["No.", "Never."]}], "convsent"
    )
    up, down = found.records
    assert (up.request.target, down.request.target) == ("I love it.", "No.")
    assert up.request.prompt == down.request.prompt == "What do you think of jazz?"
    assert dict(down.slots) == {"label": "negative", "topic": "jazz"} and dict(up.replies)["negative"] == (
        "No.",
        "Never.",
    )
    lacking = {"ent": "rain", "pos": [], "neg": ["No."]}
    found = read_rows(tmp_path, [lacking, {"ent": "jazz", "pos": ["Yes."], "neg": ["No."]}], "convsent")
    assert len(found.records) == 3 and "pos" in str(found.skipped[0])  # what it has is read


def test_others_in_the_edits_own_wording_are_near(source):
    near = source.neighbours(pico_backbone("llama")).near("The city of Ara lies in")
    asked = {record.request.prompt for record in source._training()} - {"The city of Ara lies in"}
    assert {probe.prompt for probe in near} == asked
    assert all(probe.answer == probe.prompt.split()[3][::-1] for probe in near)
    assert source.neighbours(pico_backbone("llama")).near("Who knows") == []


def test_what_follows_the_target_stays_as_the_base_goes_on(source):
    trainer = MetaTrainer(pico_backbone("llama"), source, SMALL, REAL_NETWORK)
    decode = trainer.backbone.tokenizer.decode
    for example in trainer.examples(0).examples:
        edit = decode(example.edit.ids)
        prompt, target = edit[edit.index("The city") :].rsplit(" ", 1)
        behind = [
            row for row in example.stay if decode(row.ids[: row.start]).startswith(f"{prompt} {target}")
        ]
        assert len(behind) == 1 and len(behind[0].ids) > behind[0].start


def test_training_from_kept_states_is_training(source, tmp_path, monkeypatch):
    """The losses of every step agree within what float16 keeps."""
    losses = {}
    for kept in (False, True):
        monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / f"cache-{kept}"))
        found: list[float] = []
        trainer = MetaTrainer(pico_backbone("llama"), source, replace(SMALL, kept_trunk=kept), REAL_NETWORK)
        step = trainer.train_step

        def noted(step=step, found=found):
            parts = step()
            found.append(parts["loss"])
            return parts

        monkeypatch.setattr(trainer, "train_step", noted)
        trainer.run(tmp_path / f"out-{kept}")
        losses[kept] = found
    assert len(losses[True]) == SMALL.steps
    torch.testing.assert_close(torch.tensor(losses[True]), torch.tensor(losses[False]), atol=5e-3, rtol=5e-3)
    assert list((tmp_path / "cache-True" / "trunk").rglob("states.f16"))
    assert not (tmp_path / "cache-False" / "trunk").exists()


def test_an_edits_rows_are_drawn_in_few_ways_of_few_records(source):
    config = replace(SMALL, records=3, variants=2, rephrased=1, local=1, near=1)
    trainer = MetaTrainer(pico_backbone("llama"), source, config, REAL_NETWORK)
    edits = [edit for step in range(30) for edit in trainer.examples(step).examples]
    assert len({edit.edit.ids for edit in edits}) <= 3 * 2
    rows = {row.ids for edit in edits for row in (*edit.follow, *edit.stay)}
    free = MetaTrainer(pico_backbone("llama"), source, replace(config, variants=0), REAL_NETWORK)
    others = [edit for step in range(30) for edit in free.examples(step).examples]
    assert len(rows) < len({row.ids for edit in others for row in (*edit.follow, *edit.stay)})


def test_a_dry_run_says_what_it_will_take_and_learns_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path))
    config = replace(SMALL, records=4, variants=2, steps=100)
    trainer = MetaTrainer(pico_backbone("llama"), source, config, REAL_NETWORK)
    before = [p.clone() for p in trainer.editor.network.parameters()]
    found = estimate(trainer)
    assert all(map(torch.equal, before, trainer.editor.network.parameters()))
    assert (
        (found.draws, found.different) == (300, 2 * trainer.pool)
        and trainer.pool == 4
        and found.disk > 0
        and found.kept_step
    )
    assert found.total < 100 * found.plain_step and "8 different" in found.in_words()
