"""Training on records: published shapes, others in the edit's wording, what follows a target, kept trunks."""

import json
from dataclasses import replace

import pytest
import torch

from model_zoo.benchmarks import read
from model_zoo.experiments import Lab
from model_zoo.methods.mend import MEND
from model_zoo.sources import FileSource
from model_zoo.sources.questions import questions
from model_zoo.training.config import REAL, REAL_NETWORK, changed
from model_zoo.training.estimate import estimate
from model_zoo.training.held_out import Looks
from model_zoo.training.meta import MetaTrainer
from model_zoo.training.outer import _weights

from .makers import pico_backbone

CITIES = [("Ara", "Bor"), ("Cel", "Dun"), ("Eno", "Fal"), ("Gil", "Hun"), ("Ivo", "Jar"), ("Kol", "Lim")]
SMALL = replace(
    REAL,
    questions=False,
    chat=0.0,
    tasks=("counterfact",),
    stack_share=0.0,
    steps=4,
    edits=3,
    goes_on=3,
    calibration=2,
    blocks=2,
)


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
    assert dict(down.slots) == {"label": "negative", "topic": "jazz"}
    assert (up.sentiment, down.sentiment) == ("positive", "negative")
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
    trainer = MetaTrainer(
        pico_backbone("llama"), source, replace(SMALL, instructed_share=0.0, stop=False), REAL_NETWORK
    )
    decode = trainer.backbone.tokenizer.decode
    for example in trainer.drawn.examples(0).examples:
        said = [decode(row.ids) for row in example.follow]  # the prompt and a paraphrase, the target behind
        behind = [row for row in example.stay if decode(row.ids[: row.start]) in said]
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
    assert list((tmp_path / "cache-True" / "trunk").rglob("scaled.f16"))
    assert not (tmp_path / "cache-False" / "trunk").exists()


def test_an_edits_rows_are_drawn_in_few_ways_of_few_records(source):
    config = replace(SMALL, records=3, variants=2, rephrased=1, local=1, near=1)
    trainer = MetaTrainer(pico_backbone("llama"), source, config, REAL_NETWORK)
    edits = [edit for step in range(30) for edit in trainer.drawn.examples(step).examples]
    assert len({edit.edit.ids for edit in edits}) <= 3 * 2
    rows = {row.ids for edit in edits for row in (*edit.follow, *edit.stay)}
    free = MetaTrainer(pico_backbone("llama"), source, replace(config, variants=0), REAL_NETWORK)
    others = [edit for step in range(30) for edit in free.drawn.examples(step).examples]
    assert len(rows) < len({row.ids for edit in others for row in (*edit.follow, *edit.stay)})


def test_a_dry_run_says_what_it_will_take_and_learns_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path))
    config = replace(SMALL, records=4, variants=2, steps=100, stack_share=1.0)
    path = tmp_path / "held-out.csv"
    path.write_text(
        "prompt,target,subject\n" + "".join(f"The city of {b} lies in,{a},{b}\n" for a, b in CITIES)
    )
    source = FileSource({"counterfact": [tmp_path / "rows.json"]}, {"counterfact": [path]})
    trainer = MetaTrainer(pico_backbone("llama"), source, config, REAL_NETWORK, looks=Looks(40))
    before = [p.clone() for p in trainer.editor.network.parameters()]
    found = estimate(trainer)
    assert all(map(torch.equal, before, trainer.editor.network.parameters()))
    assert (
        (found.draws, found.different) == (300, 2 * trainer.drawn.pool)
        and trainer.drawn.pool == 4
        and found.disk > 0
        and found.kept_step
    )
    first = 8 * (found.plain_step - found.kept_step) / config.edits  # every different edit is paid for once
    assert found.looks == 3 and found.look > 0  # after 40, 80 and 100 steps
    assert found.total == pytest.approx(found.before + 100 * found.kept_step + first + 3 * found.look)
    assert found.memory > 1e8 and found.before > 0
    assert "8 different" in found.in_words()["edits"] and {"disk", "looks"} <= found.in_words().keys()


def asked(trainer: MetaTrainer, rows) -> list[str]:
    return [trainer.backbone.tokenizer.decode(row.ids[: row.start]) for row in rows]


def test_other_prompts_about_the_subject_stay(source):
    trainer = MetaTrainer(pico_backbone("llama"), source, replace(SMALL, about=2), REAL_NETWORK)
    for step in range(3):
        for example in trainer.drawn.examples(step).examples:
            own = next(
                name for name, _ in CITIES if name in trainer.backbone.tokenizer.decode(example.edit.ids)
            )
            about = asked(trainer, example.stay)[-2:]
            assert all(own in prompt and "lies in" not in prompt for prompt in about)


def test_where_the_base_falls_silent_that_is_what_stays(source, monkeypatch):
    trainer = MetaTrainer(pico_backbone("llama"), source, SMALL, REAL_NETWORK)
    monkeypatch.setattr(
        "model_zoo.training.examples.generate", lambda backbone, prompts, **_: [""] * len(prompts)
    )
    end = trainer.backbone.tokenizer.eos_token_id
    for example in trainer.drawn.examples(0).examples:
        assert example.stay[-1].ids[example.stay[-1].start :] == (end,)


def test_blocks_in_the_middle_train_with_leading_directions_and_jointly(source):
    config = replace(SMALL, blocks=1, first=0, about=1, stack_share=0.5, by_row=True)
    network = REAL_NETWORK.model_copy(update={"rank": 8, "whitened_rank": 4, "joint": True})
    trainer = MetaTrainer(pico_backbone("llama"), source, config, network)
    assert all(".layers.0." in path for path in trainer.editor.config.modules)
    trainer.prepare()
    trainer.calibrate()
    before = [p.clone() for p in trainer.editor.network.parameters()]
    assert {trainer.drawn.examples(step).joint for step in range(4)} == {False, True}
    for _ in range(4):
        trainer.train_step()
    assert not all(map(torch.equal, before, trainer.editor.network.parameters()))


def test_a_first_block_that_is_not_there_is_told(source):
    with pytest.raises(ValueError, match="blocks, counted from 0; first=40 is none of them"):
        MetaTrainer(pico_backbone("llama"), source, replace(SMALL, first=40), REAL_NETWORK)


def test_by_row_a_long_answer_counts_as_one_of_a_word():
    rows = torch.tensor([0, 1, 1, 1, 1])
    assert _weights(rows, by_row=True).tolist() == [1.0, 0.25, 0.25, 0.25, 0.25]
    assert _weights(rows, by_row=False).tolist() == [1.0] * 5


def test_a_recipes_settings_are_changed_as_people_type_them():
    given = {"records": "400", "lr": "4e-4", "shares": "[2, 2, 1]", "stop": "false", "rank": "32"}
    config, network = changed(REAL, REAL_NETWORK, given)
    assert (config.records, config.lr, config.shares, config.stop, network.rank) == (
        400,
        4e-4,
        (2, 2, 1),
        False,
        32,
    )
    assert config.goes_on == REAL.goes_on and network.whitened == REAL_NETWORK.whitened
    with pytest.raises(ValueError, match="no setting 'speed'; there are about"):
        changed(REAL, REAL_NETWORK, {"speed": "9"})
    with pytest.raises(ValueError, match="records: Input should be a valid integer"):
        changed(REAL, REAL_NETWORK, {"records": "many"})


def test_statements_are_asked_as_questions_too(source):
    asked = source.with_questions()._training()
    assert len(asked) == 2 * len(source._training())  # every statement has a question
    told, question = asked[0], asked[len(asked) // 2]
    assert told.request.prompt == "The city of Ara lies in" and told.paraphrases[-1].endswith("?")
    assert "Ara" in question.request.prompt and question.request.prompt.endswith("?")
    assert question.request.target == told.request.target
    assert told.request.prompt in question.paraphrases  # the edit reaches its statement
    others = [probe for probe in question.locality if probe.prompt.endswith("?")]
    assert others and all("Ara" not in probe.prompt for probe in others)


def test_questions_are_not_made_of_what_they_do_not_know():
    assert questions("Ara lies in", "Ara") and not questions("Ara hums", "Ara")
    assert not questions("It lies in", "Ara") and not questions("", "")


def test_a_share_of_questions_is_asked_in_the_chat_template(source, monkeypatch):
    backbone = pico_backbone("llama")
    template = "U: {{ messages[0].content }} A:"
    monkeypatch.setattr(backbone.tokenizer, "chat_template", template)
    config = replace(SMALL, questions=True, chat=1.0, variants=0)
    trainer = MetaTrainer(backbone, source, config, REAL_NETWORK, 0)
    texts = [
        backbone.tokenizer.decode(row.ids)
        for example in trainer.drawn.examples(0).examples
        for row in (example.edit, example.plain, *example.follow, *example.stay)
    ]
    assert any("?" in text for text in texts)
    assert all(("U:" in text) == ("?" in text) for text in texts)  # statements stay as they are


def test_a_lab_trains_and_measures_on_files_by_their_recipe(source, tmp_path):
    rows, test = tmp_path / "rows.json", tmp_path / "test.json"
    test.write_text(json.dumps(json.loads(rows.read_text())[:2]))
    source = FileSource({"counterfact": [rows]}, {"counterfact": [test]})
    lab = Lab(pico_backbone("llama"), source, tmp_path, n=2, steps=1, recipe="real")
    small = {"tasks": ("counterfact",), "records": 2, "calibration": 1, "blocks": 2, "edits": 2, "goes_on": 2}
    editor = lab.editor(**small)
    assert editor.config.stop and editor.config.hyper.corrected and editor.config.training["goes_on"] == 2
    assert not lab.editor(**small, method=MEND).config.hyper.instruction
    cases = lab.cases()
    assert {task: len(part) for task, part in cases.items()} == {"counterfact": 2}  # what the files have
    assert lab.config()["recipe"] == "real" and lab.measure("one", [editor], cases)


def test_keys_are_whitened_by_turns_of_a_chat_too_where_edits_are_asked_in_it(source, monkeypatch):
    backbone = pico_backbone("llama")
    monkeypatch.setattr(backbone.tokenizer, "chat_template", "U: {{ messages[0].content }} A:")
    bases = []
    for chat in (0.0, 0.5):
        config = replace(SMALL, questions=True, chat=chat, kept_trunk=False)
        trainer = MetaTrainer(backbone, source, config, REAL_NETWORK, 0)
        turns = trainer.drawn.sampler.chat_turns(3)
        assert len(turns) == 3 and all(put.startswith("U: ") and put.endswith("A:") for put, _ in turns)
        trainer.prepare()
        bases.append(trainer.editor.covariance)
    assert all(not torch.allclose(bases[0][path], bases[1][path]) for path in bases[0])


@pytest.mark.parametrize("anew", [False, True])
def test_an_editor_is_gone_on_from_with_keys_measured_anew_where_that_is_asked_for(
    source, tmp_path, monkeypatch, anew
):
    backbone = pico_backbone("llama")
    small = replace(SMALL, steps=1, kept_trunk=False)
    first = MetaTrainer(backbone, source, small, REAL_NETWORK, 0).run(tmp_path / "first")
    monkeypatch.setattr(backbone.tokenizer, "chat_template", "U: {{ messages[0].content }} A:")
    config = replace(small, questions=True, chat=0.5, rewhitened=anew)
    trainer = MetaTrainer(backbone, source, config, REAL_NETWORK, 5, start=tmp_path / "first")
    own, theirs = (e.network.state_dict() for e in (trainer.run(tmp_path / "second"), first))
    bases = [name for name in own if name.endswith("vectors")]
    same = [torch.allclose(own[name], theirs[name], atol=1e-3) for name in bases]  # kept as float16
    assert same and all(kept != anew for kept in same)
