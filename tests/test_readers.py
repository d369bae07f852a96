"""LTE and SERAC: what finds the edit, what the adapter adds and to which rows, how it is trained."""

import pickle
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

from model_zoo import editors
from model_zoo.catalog import _editors_in
from model_zoo.changes import Delta, Factors, LayerDelta, Patch, Rewrite, StoredEdit, live
from model_zoo.cli import app, main
from model_zoo.evaluation.retrieval import retrieving
from model_zoo.evaluation.scoring import Case
from model_zoo.generation import generate, probabilities, stream
from model_zoo.loading import LoadOptions, load
from model_zoo.methods import METHODS, load_method
from model_zoo.methods.editor_folder import read_config
from model_zoo.methods.in_scope import MostLikely, fitted, likeness
from model_zoo.methods.lte import LTE, LTEHyperparameters
from model_zoo.methods.reader import FRAME, TEMPLATE, Reader
from model_zoo.methods.retrieval import NearestSubject
from model_zoo.methods.serac import SERAC
from model_zoo.request import EditRequest
from model_zoo.session import EditSession
from model_zoo.session_files import load_session, save_session
from model_zoo.studio import Studio
from model_zoo.training.aligning import AligningTrainer
from model_zoo.training.aligning_config import AligningConfig, changed
from model_zoo.training.averaging import average
from model_zoo.training.behind_edits import BehindEdits
from model_zoo.training.order import TRAINERS, Order, training

from .makers import ATLAS, pico_backbone, random_delta, random_editor, random_reader, save_model

READERS = [method for method in METHODS.values() if issubclass(method, Reader)]
ABOUT, ELSE = "The capital of France is", "One two three four"
STORED = StoredEdit(ABOUT, "Rome", "France")
SMALL = AligningConfig(records=6, rank=4, steps=3, batch=2, goes_on=2, pairs=6, warmup=1)


class Named:
    """A retriever that finds edits whose prompt is asked."""

    def __call__(self, prompt, stored, backbone):
        return [edit for edit in stored if edit.prompt == prompt]


def reading(backbone, everywhere: bool = False) -> Rewrite:
    return Rewrite((STORED,), Named(), TEMPLATE, FRAME, random_delta(backbone), everywhere)


# ---- a rewrite with an adapter -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_row_in_scope_sees_w_plus_ba_behind_its_edit(family):
    backbone = pico_backbone(family)
    rewrite = reading(backbone)
    dense = Delta({path: LayerDelta(D=layer.dense()) for path, layer in rewrite.adapter.layers.items()})
    text = "[Updated Information] The capital of France is Rome\n[Query] The capital of France is"
    assert rewrite.rewritten(ABOUT, backbone) == text and rewrite.rewritten(ELSE, backbone) == ELSE
    (own,) = probabilities(backbone, [ABOUT], ["Rome"], [Patch((rewrite,))])
    (written,) = probabilities(backbone, [text], ["Rome"], [Patch((dense,))])
    assert own == pytest.approx(written, rel=1e-4)
    assert generate(backbone, [ABOUT], [Patch((rewrite,))], 8) == generate(
        backbone, [text], [Patch((dense,))], 8
    )


def test_rows_out_of_scope_are_the_base_bit_for_bit_in_a_mixed_batch(gpt2):
    own, other = Patch((reading(gpt2),)), Patch((random_delta(gpt2, 7),))
    prompts, patches = [ABOUT, ELSE, ELSE, ELSE], [own, own, None, other]
    seen = live(patches, gpt2)
    rows = [gpt2.join(prompt, "five") for prompt in seen.prompts(prompts)]
    with torch.no_grad():
        under, base = (gpt2.target_logits(gpt2.batch(rows), s) for s in (seen, None))
    place = gpt2.batch(rows).target_rows
    assert torch.equal(under[(place == 1) | (place == 2)], base[(place == 1) | (place == 2)])
    assert all(not torch.equal(under[place == i], base[place == i]) for i in (0, 3))


def test_everywhere_reaches_rows_that_no_edit_is_about(gpt2):
    adapter = random_delta(gpt2)
    always = Patch((reading(gpt2, everywhere=True),))
    assert probabilities(gpt2, [ELSE], ["five"], [always]) == pytest.approx(
        probabilities(gpt2, [ELSE], ["five"], [Patch((adapter,))]), rel=1e-5
    )


def test_a_streamed_text_is_the_generated_one(gpt2):
    patches = [None, Patch((reading(gpt2),))]
    *_, last = stream(gpt2, [ABOUT, ABOUT], patches, 6)
    assert last == generate(gpt2, [ABOUT, ABOUT], patches, 6)


def test_edits_share_one_adapter_alone_joined_and_pickled(gpt2):
    method = random_reader(gpt2, LTE)
    one, two = method.propose([EditRequest(ABOUT, "Rome"), EditRequest(ELSE, "five")])
    both = method.combine([one, two])
    assert one.adapter is two.adapter is both.adapter and len(both.stored) == 2
    again = pickle.loads(pickle.dumps([one, two]))
    assert again[0].adapter is again[1].adapter
    assert len(pickle.dumps([one, two])) < 1.5 * len(pickle.dumps([one]))
    seen = live([Patch((one,)), Patch((two,))], gpt2)
    seen.prompts([ABOUT, ELSE])
    path = next(iter(method.adapter.layers))
    assert isinstance(seen.adapters, Factors) and len(seen.adapters.layers[path].A) == 1


def test_edits_that_do_not_fit_are_left_out_from_the_end(gpt2):
    many = tuple(StoredEdit(f"{ABOUT} {n}", "Rome") for n in range(20))
    rewrite = replace(reading(gpt2), stored=many, retriever=NearestSubject(0.0, 20))
    kept = rewrite.fitting(many, ABOUT, gpt2)
    assert 0 < len(kept) < 20 and kept == many[: len(kept)]
    assert rewrite.fitting(many[:1], "one " * 240, gpt2) == ()


# ---- retrieval and scope -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand() -> tuple[StoredEdit, ...]:
    records = ATLAS.records("counterfact", "train", 1150, random.Random(0))
    first = {r.request.prompt: StoredEdit(r.request.prompt, r.request.target, r.subject) for r in records}
    return tuple(first.values())[:1000]


def test_each_of_a_thousand_edits_is_found_by_its_own_prompt(gpt2, thousand):
    find = NearestSubject(0.25, 3)
    assert len(thousand) == 1000
    assert all(find(edit.prompt, thousand, gpt2)[0] is edit for edit in thousand)
    again = (*thousand, replace(thousand[3], target="another"))
    assert find(again[-1].prompt, again, gpt2)[0].target == "another"  # the last of two for one prompt
    assert find("Good morning to you all", thousand[:50], gpt2) == []
    assert find(ABOUT, (), gpt2) == []


def test_the_likeliest_edit_answers_if_it_is_likely_enough(gpt2, thousand):
    known = thousand[:40]
    find = MostLikely((4.0, 4.0, 4.0, 0.0, 0.0, 0.0, -6.0))
    assert all(find(edit.prompt, known, gpt2) == [edit] for edit in known)
    likely = find.probabilities(known[0].prompt, known, gpt2)
    assert likely.argmax() == 0
    assert not replace(find, least=float(likely[0]))(known[0].prompt, known, gpt2)
    assert not find(ABOUT, (), gpt2)


def test_a_likeness_is_one_for_itself_whatever_is_stored_beside(gpt2):
    edits = [STORED, StoredEdit(ELSE, "five"), StoredEdit("The capital of Spain is", "Oslo", "Spain")]
    both = likeness(ABOUT, edits, gpt2)
    assert both.shape == (3, 6) and torch.allclose(both[0], torch.ones(6), atol=1e-5)
    assert torch.allclose(likeness(ABOUT, edits[2:], gpt2), both[2:], atol=1e-5)
    assert both[2, 2] == 0 and both[2, 3] == pytest.approx(
        4 / 20**0.5
    )  # another subject, the same words else


def test_how_often_a_prompt_finds_its_own_edit_is_counted(gpt2):
    records = ATLAS.records("counterfact", "test", 60, random.Random(0))
    cases = [Case("counterfact", i, record, record.request) for i, record in enumerate(records)]
    *_, (done, rows) = retrieving(gpt2, random_reader(gpt2, LTE), cases)
    found = {(row.asked, row.found): row for row in rows}
    assert done == 60 and found["own prompt", "first"].mean == 1
    other = found["another wording", "first"]
    assert 0.5 < other.mean <= found["another wording", "among"].mean and other.low < other.mean
    assert found["neighbour", "first"].mean < other.mean
    with pytest.raises(ValueError, match="FT-L .* keeps no edits as text"):
        next(retrieving(gpt2, load_method("ft-l", gpt2), cases))


def test_the_regression_finds_the_weights_it_is_drawn_from():
    random_ = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 2, generator=random_) * torch.tensor([1.0, 3.0]) + 1
    p = torch.sigmoid(x @ torch.tensor([2.0, -1.0]) - 1)
    w = fitted(x, torch.rand(20000, generator=random_) < p)
    assert w.tolist() == pytest.approx([2, -1, -1], rel=0.1)


# ---- editors as folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", READERS)
def test_a_saved_editor_edits_the_same_and_another_one_is_refused(method, tmp_path):
    backbone = pico_backbone("gpt2")
    editor = AligningTrainer(method, backbone, ATLAS, SMALL, 1).run(tmp_path / "editor")
    assert sorted(p.name for p in (tmp_path / "editor").iterdir()) == ["config.json", "editor.safetensors"]
    again = load_method(method.name, backbone, tmp_path / "editor")
    assert again.fingerprint == editor.fingerprint
    request = EditRequest(ABOUT, "Rome", subject="France")
    for one, other in zip(editor.propose([request]), again.propose([request]), strict=True):
        assert one.rewritten(ABOUT, backbone) == other.rewritten(ABOUT, backbone)
        assert probabilities(backbone, [ABOUT], ["Rome"], [Patch((one,))]) == probabilities(
            backbone, [ABOUT], ["Rome"], [Patch((other,))]
        )
    with pytest.raises(ValueError, match=f"for the method {method.name}, and mend was asked for"):
        load_method("mend", backbone, tmp_path / "editor")
    with pytest.raises(ValueError, match="has other weights"):
        load_method(method.name, pico_backbone("gpt2", seed=9), tmp_path / "editor")


def test_broken_files_are_refused_in_a_sentence(gpt2, tmp_path):
    editor = random_reader(gpt2, SERAC)
    editor.numbers.clear()
    editor.save(tmp_path)
    with pytest.raises(ValueError, match="no scope classifier"):
        load_method("serac", gpt2, tmp_path).propose([EditRequest(ABOUT, "Rome")])
    path, layer = next(iter(editor.adapter.layers.items()))
    editor.adapter = Delta({**editor.adapter.layers, path: LayerDelta(A=layer.A[:, 1:], B=layer.B)})
    editor.save(tmp_path)
    with pytest.raises(ValueError, match=f"the factors of {path}"):
        load_method("serac", gpt2, tmp_path)


def test_hyperparameters_are_part_of_what_decides_an_edit(gpt2):
    one = random_reader(gpt2, LTE)
    other = LTE(gpt2, LTEHyperparameters(edits=1), one.editor, one.adapter, one.numbers)
    assert one.fingerprint != other.fingerprint
    assert other.propose([EditRequest(ABOUT, "Rome")])[0].retriever.most == 1


def test_a_card_says_what_kind_of_editor_it_is(gpt2, tmp_path):
    random_reader(gpt2, SERAC).save(tmp_path)
    card = editors.card(read_config(tmp_path), "me/pico-serac")
    assert "an adapter that has taught it" in card and "2206.06520" in card and "--method serac" in card
    assert "edit_lr" not in card
    random_editor(gpt2).save(tmp_path)
    assert "a hypernetwork that turns" in editors.card(read_config(tmp_path), "me/pico")


@pytest.mark.parametrize("method", READERS)
def test_prompts_without_room_are_refused_as_without_the_edit(gpt2, method):
    (change,) = random_reader(gpt2, method).propose([EditRequest(ABOUT, "Rome")])
    for prompt in ("", "one " * 300):
        with pytest.raises(ValueError, match="A prompt must have between 1 and"):
            generate(gpt2, [prompt], [Patch((change,))])


@pytest.mark.parametrize("method", READERS)
def test_a_model_opens_on_the_method_that_its_editor_is_of(gpt2, method, tmp_path):
    assert Studio(gpt2, "pico", {method.name: tmp_path}, ATLAS).default_method() == method.name


@pytest.mark.parametrize("method", READERS)
def test_a_session_is_made_anew_by_the_same_editor_or_refused(method, tmp_path):
    backbone = pico_backbone("gpt2")
    random_reader(backbone, method).save(tmp_path / "one")
    random_reader(backbone, method, seed=2).save(tmp_path / "other")
    studio, other = (
        Studio(backbone, "pico", {method.name: tmp_path / name}, ATLAS) for name in ("one", "other")
    )
    session = EditSession()
    for prompt, target in ((ABOUT, "Rome"), (ELSE, "five")):
        session = session.add(studio.propose(EditRequest(prompt, target), method.name)[0])
    save_session(session, studio, tmp_path / "session")
    again = load_session(tmp_path / "session", studio)
    asked = [backbone, [ABOUT, ELSE], ["Rome", "five"]]
    assert probabilities(*asked, [studio.patch(session)] * 2) == probabilities(
        *asked, [studio.patch(again)] * 2
    )
    with pytest.raises(ValueError, match="load it with that editor"):
        load_session(tmp_path / "session", other)


def test_editors_lie_beside_a_model_by_their_methods_names(tmp_path):
    for name in ("editor", "editor-lte", "editor-serac", "base", "editorial"):
        (tmp_path / name).mkdir()
    (tmp_path / "editor-notes").write_text("no folder")
    assert _editors_in(tmp_path) == {
        "instructedit": tmp_path / "editor",
        "lte": tmp_path / "editor-lte",
        "serac": tmp_path / "editor-serac",
    }


# ---- training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", READERS)
def test_training_lowers_its_loss_and_leaves_the_base_alone(gpt2, method):
    trainer = AligningTrainer(method, gpt2, ATLAS, replace(SMALL, steps=30, lr=1e-2, batch=4))
    before = [p.clone() for p in gpt2.model.parameters()]
    losses = [trainer.train_step() for _ in range(30)]
    assert sum(loss["edit"] for loss in losses[-6:]) < sum(loss["edit"] for loss in losses[:6])
    assert any("stay" in loss for loss in losses) == method.leaves_others_alone
    assert all(torch.equal(a, b) for a, b in zip(before, gpt2.model.parameters(), strict=True))


def test_a_seed_gives_one_editor(tmp_path):
    def trained(seed: int) -> str:
        return AligningTrainer(LTE, pico_backbone("gpt2"), ATLAS, SMALL, seed).run(tmp_path).fingerprint

    assert trained(3) == trained(3) != trained(4)


def test_an_adapter_is_gone_on_from_where_it_stands(gpt2, tmp_path):
    first = AligningTrainer(SERAC, gpt2, ATLAS, SMALL).run(tmp_path)
    second = AligningTrainer(LTE, gpt2, ATLAS, SMALL, seed=1, start=tmp_path)
    begun = second.editor()
    for path, layer in first.adapter.layers.items():
        assert torch.equal(layer.A, begun.adapter.layers[path].A)
        assert torch.allclose(layer.B, begun.adapter.layers[path].B, rtol=1e-3)
    assert begun.editor.training["start"] == first.fingerprint
    with pytest.raises(ValueError, match="cannot be gone on from"):
        AligningTrainer(LTE, gpt2, ATLAS, replace(SMALL, rank=5), start=tmp_path)


def test_what_stays_is_no_loss_before_the_adapter_has_learned_and_no_edit_is_there(gpt2):
    trainer = AligningTrainer(LTE, gpt2, ATLAS, SMALL)
    trainer.train_step()
    examples = [replace(e, before=e.put) for e in trainer.drawn.examples(0)]
    fresh = AligningTrainer(LTE, gpt2, ATLAS, SMALL)
    fresh._continue(examples)
    assert fresh.loss(examples)[1]["stay"] == pytest.approx(0, abs=1e-5)
    assert trainer.drawn.examples(1) == fresh.drawn.examples(1)  # by seed and step alone


def test_examples_hold_the_edit_that_decides_them():
    backbone = pico_backbone("gpt2", max_position_embeddings=256)
    for method in READERS:
        trainer = AligningTrainer(method, backbone, ATLAS, replace(SMALL, records=40, batch=8))
        examples = [example for step in range(4) for example in trainer.drawn.examples(step)]
        follow, stay = ([e for e in examples if (e.target is None) == away] for away in (False, True))
        assert follow and bool(stay) == method.leaves_others_alone
        assert all(f" {e.target}\n" in e.before and e.before.endswith(f"[Query] {e.put}") for e in follow)
        most = max(e.before.count("\n") for e in examples)
        assert most == method.most_edits


def test_an_edit_is_made_in_any_of_its_wordings_with_its_own_target_or_anothers(gpt2):
    for swapped in (0.0, 1.0):
        drawn = BehindEdits(LTE, gpt2, ATLAS, replace(SMALL, records=30, swapped=swapped))
        rng, own = random.Random(0), 0
        for record in drawn.records:
            made = drawn._reworded(record, rng)
            wordings = {record.request.prompt, *record.paraphrases}
            assert {made.request.prompt, *made.paraphrases} == wordings
            own += made.request.target == record.request.target
        assert own == len(drawn.records) if not swapped else own < len(drawn.records) / 4


def test_questions_are_asked_in_the_chat_template_and_found_inside_it(monkeypatch):
    backbone = pico_backbone("llama")
    monkeypatch.setattr(backbone.tokenizer, "chat_template", "U: {{ messages[0].content }} A:")
    put = backbone.asked("Is it so?", True)
    assert (
        put == "U: Is it so? A:" and backbone.bare(put) == "Is it so?" and backbone.bare("It is") == "It is"
    )
    trainer = AligningTrainer(SERAC, backbone, ATLAS, replace(SMALL, chat=1.0, records=20, batch=12))
    asked = [e for e in trainer.drawn.examples(0) if "?" in e.put]
    assert asked and all(e.put.startswith("U: ") and f"[Query] {e.put}" in e.before for e in asked)


def test_settings_are_changed_by_name_or_refused():
    assert changed(SMALL, {"lr": "1e-4", "tasks": '["recent"]'}).tasks == ("recent",)
    with pytest.raises(ValueError, match="no setting 'edits'"):
        changed(SMALL, {"edits": "3"})
    with pytest.raises(ValueError, match="steps"):
        changed(SMALL, {"steps": "many"})


def test_every_trained_method_names_a_trainer(gpt2):
    trained = {name for name, m in METHODS.items() if m.trained_by}
    assert all(METHODS[name].trained_by in TRAINERS and METHODS[name].needs_editor for name in trained)
    assert {name for name, m in METHODS.items() if m.needs_editor} - trained == {"easyedit"}  # imported
    command = typer.main.get_command(app).commands["train"]
    told = next(option.help for option in command.params if option.name == "method")
    assert all((name in re.findall(r"[\w-]+", told)) == (name in trained) for name in METHODS)
    with pytest.raises(ValueError, match="needs no training"):
        training(Order(METHODS["ft-l"], gpt2, ATLAS, ("counterfact",)))
    with pytest.raises(ValueError, match="are not trained here"):
        training(Order(METHODS["easyedit"], gpt2, ATLAS, ("counterfact",)))


def test_the_command_trains_it_and_refuses_what_is_anothers(tmp_path, capsys):
    base = save_model(pico_backbone("gpt2"), tmp_path / "base")
    common = ["train", "--model", str(base), "--device", "cpu", "--method", "serac", "--out"]
    few = ["--steps", "2", "--set", "records=4", "--set", "pairs=4", "--set", "batch=2", "--rank", "3"]
    for option in (["--recipe", "real"], ["--no-instructions"]):
        assert main([*common, str(tmp_path / "out"), *few, *option]) == 2
        assert f"{option[0]} is about hypernetworks" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "out"), *few, "--dry-run"]) == 0
    assert "a step" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main([*common, str(tmp_path / "out"), *few]) == 0
    told = capsys.readouterr().out
    assert f"--model {base} --editor {tmp_path / 'out'}" in told
    assert main([*common, str(tmp_path / "out"), *few]) == 2
    assert "holds a finished editor already" in capsys.readouterr().err
    config = read_config(tmp_path / "out")
    assert config.method == "serac" and config.hyper.rank == 3 and config.training["steps"] == 2
    studio = Studio.open(str(base), LoadOptions("cpu"), tmp_path / "out")
    report, _ = studio.edit(studio.request("counterfact", ABOUT, "Rome"), "serac")
    assert report.method == "serac" and report.changed == ()


def test_what_needs_a_hypernetwork_refuses_an_adapter(tmp_path, capsys):
    base = save_model(pico_backbone("gpt2"), tmp_path / "base")
    backbone = load(base, LoadOptions("cpu"), "pico")
    folder = tmp_path / "lte"
    random_reader(backbone, LTE).save(folder)
    reader = load_method("lte", backbone, folder)
    with pytest.raises(ValueError, match="has no hypernetwork"):
        average([reader, reader])
    out: Path = tmp_path / "out"
    common = ["train", "--model", str(base), "--device", "cpu", "--out", str(out)]
    assert main([*common, "--start", str(folder)]) == 2
    assert "is no hypernetwork" in capsys.readouterr().err
