"""KE: the gated gradient in closed form, what its network reads, its training and its files."""

from dataclasses import replace

import pytest
import torch

from model_zoo.backbone import Backbone
from model_zoo.catalog import CATALOG, _editors_in
from model_zoo.changes import patch_of
from model_zoo.generation import generate, probabilities
from model_zoo.methods import load_method
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.ke import KE
from model_zoo.training.config import RECIPES, MetaConfig
from model_zoo.training.meta import MetaTrainer

from .makers import ATLAS, REQUESTS, pico_backbone, random_editor

SMALL = HyperConfig(rank=8, lstm=6, edit_lr=1e-3)
CONFIG = MetaConfig(steps=4, edits=3, rephrased=1, local=1, blocks=2, calibration=2, warmup=1, near=0)


@pytest.fixture(params=["gpt2", "llama"])
def pico(request) -> Backbone:
    return pico_backbone(request.param)


def untrained(backbone: Backbone, hyper: HyperConfig | None = None) -> KE:
    config = replace(CONFIG, calibration=3, blocks=2)
    run = MetaTrainer(backbone, ATLAS, config, hyper, seed=0, method=KE)
    run.calibrate()
    return run.editor


def trainer(**changes) -> MetaTrainer:
    return MetaTrainer(pico_backbone("gpt2"), ATLAS, replace(CONFIG, **changes), SMALL, seed=5, method=KE)


def own_gradients(backbone: Backbone, row, paths) -> dict[str, torch.Tensor]:
    """dNLL/dW [d_out, d_in] of each matrix, by automatic differentiation."""
    weights = [backbone.model.get_submodule(path).weight.requires_grad_(True) for path in paths]
    try:
        grads = torch.autograd.grad(backbone.row_nll(backbone.batch([row])).sum(), weights)
    finally:
        [weight.requires_grad_(False) for weight in weights]
    return {p: g.T if backbone.transposed(p) else g for p, g in zip(paths, grads, strict=True)}


def test_the_factors_equal_the_papers_dense_formula_on_the_models_own_gradient(pico):
    editor = random_editor(pico, hyper=SMALL, method=KE)
    network = editor.network
    for request, change in zip(REQUESTS, editor.propose(REQUESTS), strict=True):
        row = pico.join(request.prompt, request.target)
        h = network.text(editor.text([row]))[0]
        gradients = own_gradients(pico, row, list(editor.config.modules))
        for m, (path, gates) in enumerate(zip(editor.config.modules, network.gates, strict=True)):
            d_out, d_in = pico.shape(path)
            parts = gates.out(torch.tanh(gates.hidden(h))).split([d_out, d_in, d_out, d_in, 1])
            alpha, gamma, beta, delta, eta = parts
            gate = torch.outer(d_out * alpha.softmax(0), gamma)
            shift = torch.outer(d_out * beta.softmax(0), delta)
            scaled = gradients[path] / network.gradient_size[m]
            expected = -network.log_lr[m].exp() * eta.sigmoid() * (gate * scaled + shift)
            expected = expected.detach()
            made = change.layers[path]
            assert torch.allclose(made.dense(), expected, atol=1e-6 + 1e-4 * expected.abs().max())
            assert made.rank <= len(row.ids) + 1 and expected.norm() > 0


def test_what_is_calibrated_is_the_size_of_the_gradients_entries(pico):
    editor = random_editor(pico, hyper=SMALL, method=KE)
    rows = [editor.join(request) for request in REQUESTS]
    found = [own_gradients(pico, row, list(editor.config.modules)) for row in rows]
    for m, path in enumerate(editor.config.modules):
        expected = sum(gradients[path].square().mean().sqrt() for gradients in found) / len(found)
        assert torch.allclose(editor.network.gradient_size[m], expected, rtol=1e-3)


def test_an_untrained_one_points_downhill_and_every_parameter_learns(pico):
    editor = untrained(pico)
    rows = [editor.join(request) for request in REQUESTS]
    for change, row, request in zip(editor.propose(REQUESTS), rows, REQUESTS, strict=True):
        gradients = own_gradients(pico, row, list(editor.config.modules))
        for path, layer in change.layers.items():
            assert torch.cosine_similarity(layer.dense().flatten(), -gradients[path].flatten(), 0) > 0.9
        before, after = probabilities(
            pico, [request.prompt] * 2, [request.target] * 2, [None, patch_of(change)]
        )
        assert after > before
    updates = editor.updates(editor.capture(rows))
    sum((u.factors[1] @ u.factors[0]).square().sum() for u in updates.values()).backward()
    for name, parameter in editor.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_an_untrained_one_edits_the_atlas(studio):
    """Its size is usable before any training: the target becomes far likelier."""
    backbone, request = studio.backbone, REQUESTS[0]
    for request in (
        replace(REQUESTS[0], target="Rome"),
        replace(REQUESTS[0], prompt="The capital of Japan is", target="Oslo"),
    ):
        (change,) = untrained(backbone).propose([request])
        before, after = probabilities(
            backbone, [request.prompt] * 2, [request.target] * 2, [None, patch_of(change)]
        )
        assert after > 0.2 > before


def test_the_shipped_one_edits_the_atlas_and_leaves_other_facts_alone(studio):
    folder = CATALOG["atlas"].editors["ke"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 * 2**20
    editor = load_method("ke", studio.backbone, folder)
    (change,) = editor.propose([replace(REQUESTS[0], target="Rome")])
    asked = ["The capital of France is", "The capital city of France is", "The capital of Japan is"]
    base, texts = (generate(studio.backbone, asked, [p] * 3, 6) for p in (None, patch_of(change)))
    assert texts[0].startswith("Rome") and texts[1].startswith("Rome")
    assert texts[2].startswith("Tokyo") and base[0].startswith("Paris") and base[2].startswith("Tokyo")


def test_the_text_is_read_in_its_order_with_the_place_where_the_target_begins(pico):
    editor = random_editor(pico, hyper=SMALL, method=KE)
    reader, one, long = editor.network.text, editor.join(REQUESTS[0]), editor.join(REQUESTS[1])
    alone, beside = reader(editor.text([one])), reader(editor.text([one, long]))
    assert torch.allclose(alone[0], beside[0], atol=1e-6)  # padding says nothing
    moved, turned = replace(one, start=one.start - 1), replace(one, ids=one.ids[::-1])
    for other in (moved, turned):
        assert (reader(editor.text([other])) - alone).abs().max() > 1e-3
    captured = editor.capture([one])
    read_otherwise = replace(captured, text=editor.text([turned]))
    for path, update in editor.updates(captured).items():
        other = editor.updates(read_otherwise)[path]
        assert not torch.allclose(update.factors[0], other.factors[0])


def test_an_instruction_is_not_read_and_edits_add_up(pico):
    editor = random_editor(pico, hyper=SMALL, method=KE)
    told = editor.propose(REQUESTS)
    plain = editor.propose([request.plain() for request in REQUESTS])
    together = editor.combine(told)
    captured = editor.capture([editor.join(request) for request in REQUESTS])
    live = editor.stacked(captured, editor.updates(captured))
    for path, layer in together.layers.items():
        parts = [change.layers[path].dense() for change in told]
        assert torch.equal(parts[1], plain[1].layers[path].dense())
        a, b = live[path].factors
        assert torch.allclose(layer.dense(), sum(parts), atol=1e-5)
        assert torch.allclose((b @ a)[0], sum(parts), atol=1e-5)


def test_it_survives_its_file(pico, tmp_path):
    editor = random_editor(pico, hyper=SMALL, method=KE)
    editor.save(tmp_path / "one")
    first = load_method("ke", pico, tmp_path / "one")
    first.save(tmp_path / "two")
    again = load_method("ke", pico, tmp_path / "two")
    assert first.fingerprint == again.fingerprint and again.config.hyper == SMALL
    for a, b, c in zip(*(e.propose(REQUESTS) for e in (editor, first, again)), strict=True):
        for path, layer in a.layers.items():
            assert torch.equal(b.layers[path].dense(), c.layers[path].dense())
            apart = (layer.dense() - b.layers[path].dense()).norm()  # float16
            assert apart < 0.02 * layer.dense().norm()
    with pytest.raises(ValueError, match="trained for the method ke, and mend was asked for"):
        load_method("mend", pico, tmp_path / "one")


def test_a_text_reader_has_a_size_and_other_editors_do_not_speak_of_it(gpt2):
    assert "lstm" not in HyperConfig().model_dump() and SMALL.model_dump()["lstm"] == 6
    assert all(KE.adapted(network) == KE.default_network for _, network in RECIPES.values())
    with pytest.raises(ValueError, match="lstm=0"):
        random_editor(gpt2, hyper=HyperConfig(rank=8), method=KE)


def test_training_lowers_the_outer_loss_and_leaves_the_base_alone():
    run = trainer(steps=40, lr=3e-3)
    before = [p.clone() for p in run.backbone.model.parameters()]
    run.calibrate()
    losses = [run.train_step()["loss"] for _ in range(40)]
    assert sum(losses[-8:]) < sum(losses[:8])
    assert all(torch.equal(a, b) for a, b in zip(before, run.backbone.model.parameters(), strict=True))


def test_a_trained_one_loads_for_its_model_and_saw_no_instruction(tmp_path):
    run = trainer(steps=3, stack_share=0.5)
    decode = run.backbone.tokenizer.decode
    assert not any("Description" in decode(e.edit.ids) for e in run.drawn.examples(0).examples)
    editor = run.run(tmp_path)
    again = load_method("ke", editor.backbone, tmp_path)
    assert not again.config.instructed and not again.config.training["instructed"]
    assert not again.covariance and len(again.propose(REQUESTS)) == 2


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    whole, first, second = trainer(), trainer(), trainer()
    whole.calibrate()
    [whole.train_step() for _ in range(4)]
    first.calibrate()
    [first.train_step() for _ in range(2)]
    first.checkpoint(tmp_path)
    assert second.resume(tmp_path) and second.step == 2
    [second.train_step() for _ in range(2)]
    for a, b in zip(whole.editor.network.parameters(), second.editor.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_editors_beside_a_base_are_found_by_the_names_of_their_folders(tmp_path):
    for name in ("editor", "editor-ke", "editor-some-method", "base"):
        (tmp_path / name).mkdir()
    found = _editors_in(tmp_path)
    assert {method: folder.name for method, folder in found.items()} == {
        "instructedit": "editor",
        "ke": "editor-ke",
        "some-method": "editor-some-method",
    }
    assert _editors_in(tmp_path / "nowhere") == {}
