"""An editor's folder: written, read again, and refused where it does not fit."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_zoo.methods import METHODS, load_method
from model_zoo.methods.editor_folder import RENAMED
from model_zoo.methods.heads import LATER_HEADS
from model_zoo.methods.hyper_config import HyperConfig

from .makers import (
    FAR,
    FITS,
    LEADING,
    READS,
    REQUESTS,
    WHITE,
    far_editor,
    pico_backbone,
    random_editor,
    whitened_editor,
)


@pytest.mark.parametrize("hyper", [None, READS, WHITE, LEADING, FAR, FITS])
def test_an_editor_survives_its_file(gpt2, tmp_path, hyper):
    white = hyper in (WHITE, LEADING)
    editor = (
        far_editor(gpt2) if hyper == FAR else (whitened_editor if white else random_editor)(gpt2, hyper=hyper)
    )
    editor.covariance = {path: torch.eye(shape[1]) for path, shape in editor.config.modules.items()}
    editor.save(tmp_path)
    again = load_method("instructedit", gpt2, tmp_path)
    for a, b in zip(editor.propose(REQUESTS), again.propose(REQUESTS), strict=True):
        for path in a.layers:  # float16 weights
            assert torch.allclose(
                a.layers[path].dense(),
                b.layers[path].dense(),
                rtol=0.05,
                atol=0.02 * a.layers[path].dense().abs().max(),
            )


def test_an_editor_that_reads_instructions_in_an_older_way_is_refused(gpt2, tmp_path):
    for hyper, refused in ((READS, True), (HyperConfig(rank=8), False)):
        random_editor(gpt2, hyper=hyper).save(tmp_path)
        config = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(config.replace('"format_version": 4', '"format_version": 1'))
        if refused:
            with pytest.raises(ValueError, match="format 1, and this program reads format 4. Train it again"):
                load_method("instructedit", gpt2, tmp_path)
        else:
            load_method("instructedit", gpt2, tmp_path)


def test_a_wrong_or_missing_editor_is_refused_with_both_sides_named(gpt2, tmp_path):
    random_editor(gpt2).save(tmp_path)
    with pytest.raises(ValueError, match=r"made for pico-gpt2.*pico-llama has no such module"):
        load_method("instructedit", pico_backbone("llama"), tmp_path)
    with pytest.raises(ValueError, match="needs an editor trained for pico-gpt2"):
        load_method("instructedit", gpt2)
    with pytest.raises(ValueError, match="Bring an archive in with 'python -m model_zoo import'"):
        load_method("easyedit", gpt2)
    with pytest.raises(ValueError, match=f"the methods are: {', '.join(METHODS)}"):
        load_method("romee", gpt2)
    (tmp_path / "editor.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="No editor could be loaded"):
        load_method("instructedit", gpt2, tmp_path)


def test_heads_that_an_older_editor_lacks_stay_zero(gpt2, tmp_path):
    editor = far_editor(gpt2)
    for network in editor.network.networks.values():
        for name in LATER_HEADS:
            torch.nn.init.zeros_(getattr(network, name).weight)
    editor.save(tmp_path)
    path = tmp_path / "editor.safetensors"
    kept = {
        name: tensor for name, tensor in load_file(path).items() if name.split(".")[-2] not in LATER_HEADS
    }
    expected = load_method("instructedit", gpt2, tmp_path).propose(REQUESTS)
    save_file(kept, path)
    with pytest.raises(ValueError, match="does not fit its configuration"):
        load_method("instructedit", gpt2, tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"format_version": 4', '"format_version": 2'))
    for a, b in zip(load_method("instructedit", gpt2, tmp_path).propose(REQUESTS), expected, strict=True):
        assert all(torch.equal(a.layers[path].dense(), b.layers[path].dense()) for path in a.layers)
    save_file({name: tensor for name, tensor in kept.items() if "reach" not in name}, path)
    with pytest.raises(ValueError, match="does not fit its configuration"):
        load_method("instructedit", gpt2, tmp_path)


def test_an_editor_of_format_3_is_read_by_the_names_that_its_heads_had(gpt2, tmp_path):
    editor = random_editor(gpt2, hyper=HyperConfig(rank=8, instruction=6, joint=True, fitted=True))
    editor.save(tmp_path)
    expected = load_method("instructedit", gpt2, tmp_path)
    path, config = tmp_path / "editor.safetensors", tmp_path / "config.json"
    old = {today: before for before, today in RENAMED.items()}
    renamed = {
        ".".join(old.get(part, part) for part in name.split(".")): tensor
        for name, tensor in load_file(path).items()
    }
    assert "fit.weight" in renamed and sum(name.endswith(".say.weight") for name in renamed) == len(
        editor.network.networks
    )
    save_file(renamed, path)
    with pytest.raises(ValueError, match="does not fit its configuration"):  # format 4 has no such names
        load_method("instructedit", gpt2, tmp_path)
    config.write_text(config.read_text().replace('"format_version": 4', '"format_version": 3'))
    again = load_method("instructedit", gpt2, tmp_path)
    for (name, a), (other, b) in zip(
        again.network.state_dict().items(), expected.network.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(a, b)
    again.save(tmp_path)  # and written by those of today
    assert '"format_version": 4' in config.read_text() and "strength_head.weight" in load_file(path)


def test_how_an_editor_was_trained_is_told_as_far_as_it_says(gpt2):
    config = random_editor(gpt2).config
    told = {
        "trained for 9 steps of 4 edits on zsre": {"steps": 9, "edits": 4},
        "trained for 9 steps on zsre by somebody": {"steps": 9, "by": "somebody"},
        "trained for 9 steps on zsre, from where another editor ended": {"steps": 9, "start": "0ab1"},
        "": {},
    }
    for words, training in told.items():
        config = config.model_copy(update={"training": training, "tasks": ("zsre",)})
        assert config.training_in_words == words
