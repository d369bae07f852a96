"""Sessions as folders: they load again to the last bit, or say why not."""

import json
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from model_zoo import session_files
from model_zoo.export import export
from model_zoo.methods.ft_l import FTL
from model_zoo.session import EditSession
from model_zoo.session_files import CHANGES, SESSION, is_session, load_session, save_session
from model_zoo.studio import Studio

from .makers import pico_backbone
from .test_session import same

PATH = "transformer.h.2.mlp.c_proj"


@pytest.fixture
def studio() -> Studio:
    return Studio(pico_backbone("gpt2"), "pico", {})


@pytest.fixture
def session(studio) -> EditSession:
    """Three edits, one with other hyperparameters, one off, with a history on both sides."""
    session = EditSession()
    for prompt, target in (("One two", "three"), ("It is", "so"), ("France is", "Rome")):
        request = studio.request("counterfact", prompt, target)
        hyper = FTL.Hyperparameters(steps=3) if target == "so" else None
        session = session.add(studio.propose(request, "ft-l", hyper=hyper)[0])
    return session.toggle(1).set_strength(2, 0.5).toggle(0).undo()


def test_a_session_loads_again_bit_for_bit_with_its_history(studio, session, tmp_path):
    folder = save_session(session, studio, tmp_path / "mine")
    assert is_session(folder) and not list(folder.glob(".saving-*"))
    loaded = load_session(folder, studio)
    assert [(e.request, e.method, e.strength, e.on, e.hyperparameters) for e in loaded.edits] == [
        (e.request, e.method, e.strength, e.on, e.hyperparameters) for e in session.edits
    ]
    assert same(studio.patch(loaded), studio.patch(session))
    for step in ("undo", "redo"):
        mine, theirs = getattr(session, step)(), getattr(loaded, step)()
        assert len(mine.edits) == len(theirs.edits) and same(studio.patch(theirs), studio.patch(mine))
    assert len(loaded.past) == len(session.past) and len(loaded.future) == len(session.future) == 1
    assert same(studio.patch(loaded.toggle(1)), studio.patch(session.toggle(1)))
    again = save_session(loaded.toggle(1), studio, folder)  # an earlier session is replaced
    assert load_session(again, studio).edits[1].on


def test_an_empty_session_is_one_too(studio, tmp_path):
    assert load_session(save_session(EditSession(), studio, tmp_path / "s"), studio) == EditSession()


def test_what_is_no_session_is_left_alone(studio, session, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no earlier session"):
        save_session(session, studio, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_base_or_editor_is_refused_with_both_named(studio, session, tmp_path, monkeypatch):
    folder = save_session(session, studio, tmp_path / "s")
    with pytest.raises(ValueError, match="were made on .* is loaded .* open that model"):
        load_session(folder, Studio(pico_backbone("llama"), "other", {}))
    monkeypatch.setattr(FTL, "fingerprint", "another")
    with pytest.raises(
        ValueError, match="edits by ft-l with the editor, settings or text of statistics .* here are another"
    ):
        load_session(folder, studio)


def broken(folder, change):
    told = json.loads((folder / SESSION).read_text())
    change(told)
    (folder / SESSION).write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.update(format_version=9), "found session format 9, this program reads format 1"),
        (
            lambda told: told["stack"].append({"edit": 7, "strength": 1.0, "on": True}),
            "names an edit that is not",
        ),
        (lambda told: told["edits"][0].pop("method"), "edits.0.method: Field required"),
        (lambda told: told["edits"].append(told["edits"][0]), "the change of edit 4 is missing"),
        (lambda told: told["edits"][0]["request"].update(prompt=""), "The prompt is empty"),
    ],
)
def test_broken_files_are_a_sentence(studio, session, tmp_path, change, message):
    folder = save_session(session, studio, tmp_path / "s")
    broken(folder, change)
    with pytest.raises(ValueError, match=message):
        load_session(folder, studio)


def test_cut_and_missing_files_are_a_sentence(studio, session, tmp_path):
    folder = save_session(session, studio, tmp_path / "s")
    (folder / CHANGES).write_bytes((folder / CHANGES).read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        load_session(folder, studio)
    (folder / SESSION).write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a session"):
        load_session(folder, studio)
    with pytest.raises(ValueError, match="cannot be read as a session"):
        load_session(tmp_path / "nothing", studio)


def test_what_is_no_weight_change_is_made_anew(studio, session, tmp_path, monkeypatch):
    whole = [edit.change for edit in session.edits]
    monkeypatch.setattr(session_files, "Delta", type("No", (), {}))  # as if none of them were one
    folder = save_session(session, studio, tmp_path / "s")
    monkeypatch.undo()
    told = json.loads((folder / SESSION).read_text())
    assert not any(edit["stored"] for edit in told["edits"])
    loaded = load_session(folder, studio)
    for edit, change in zip(loaded.edits, whole, strict=True):
        assert all(
            torch.allclose(edit.change.layers[p].dense(), change.layers[p].dense(), atol=1e-6)
            for p in change.layers
        )
    assert replace(loaded.edits[0], on=True).strength == session.edits[0].strength


def test_a_session_is_one_file_too(studio, session, tmp_path):
    path = save_session(session, studio, tmp_path / "mine.zip")
    assert is_session(path) and [p.name for p in tmp_path.iterdir()] == ["mine.zip"]
    assert same(studio.patch(load_session(path, studio)), studio.patch(session))
    save_session(session.undo(), studio, path)  # an earlier one is replaced
    assert len(load_session(path, studio).past) == len(session.past) - 1


def test_a_zip_file_that_is_no_session_is_left_alone_and_told(studio, session, tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../evil.txt", "no")
    assert not is_session(path)
    with pytest.raises(ValueError, match="holds no session; choose another name"):
        save_session(session, studio, path)
    with pytest.raises(ValueError, match="other.zip cannot be read as a session"):
        load_session(path, studio)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="other.zip cannot be read as a session"):
        load_session(path, studio)


# ---- exports, to go on from --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["delta", "lora"])
def test_an_export_is_gone_on_from(session, studio, name, tmp_path):
    patch = studio.patch(session.set_on({0, 1, 2}))
    folder = export(studio.backbone, session.set_on({0, 1, 2}), patch, name, tmp_path / "out")
    path = folder / "delta.safetensors" if name == "delta" else folder
    loaded = load_session(path, studio)
    (edit,) = loaded.edits
    assert edit.label == "France is → Rome and 2 more" and edit.on_top and edit.strength == 1.0
    assert torch.allclose(*(p.delta.layers[PATH].dense() for p in (studio.patch(loaded), patch)), atol=1e-6)
    more = loaded.add(studio.propose(studio.request("counterfact", "France is", "Oslo"), "ft-l")[0])
    assert len(more.edits) == 2  # an edit of one of its prompts does not push it out
    assert [other.label for other in studio.contradicted(more.edits[-1].request, more)] == [edit.label]
    again = load_session(save_session(more, studio, tmp_path / "kept"), studio)
    assert again.edits[0].label == edit.label and same(studio.patch(again), studio.patch(more))
    assert same(studio.patch(more.toggle(1)), studio.patch(loaded))


def test_an_export_that_does_not_fit_is_a_sentence(session, studio, tmp_path):
    folder = export(studio.backbone, session, studio.patch(session), "delta", tmp_path / "out")
    other = Studio(pico_backbone("gpt2", seed=5), "other", {})
    with pytest.raises(ValueError, match="were made on pico-gpt2 .* and pico-gpt2 is loaded"):
        load_session(folder, other)
    bare = studio.patch(session).delta.save(tmp_path / "bare")
    with pytest.raises(ValueError, match="does not say which edits of which model it holds"):
        load_session(bare, studio)
    (folder / "delta.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read as a delta file"):
        load_session(folder, studio)
    (folder / "delta.safetensors").unlink()
    save_file({"base_model.model.x.weight": torch.zeros(1)}, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="holds 'base_model.model.x.weight', which no adapter"):
        load_session(folder, studio)
