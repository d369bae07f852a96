"""Closed forms of the methods that solve for a weight change, on random models of two families."""

import pytest
import torch

from model_zoo.changes import patch_of
from model_zoo.methods import hyperparameters, load_method
from model_zoo.methods.locating import CONTEXTS
from model_zoo.methods.values import asked_rows, keys_at, subject_end
from model_zoo.request import EditRequest

from .makers import pico_backbone

REQUESTS = [
    EditRequest("The capital of France is", "Rome", subject="France"),
    EditRequest("Two three is", "seven", subject="three"),
    EditRequest("What do you think of jazz", "six", subject="jazz"),
]


@pytest.fixture(params=["gpt2", "llama"], scope="module")
def backbone(request):
    return pico_backbone(request.param)


def method(name: str, backbone, **values):
    return load_method(name, backbone, hyper=hyperparameters(name, {"steps": 3, **values}))


def test_a_subject_ends_where_its_last_token_does(backbone):
    ids = backbone.ids("The capital of France")
    assert (
        subject_end(backbone, "The capital of France is", "The capital of France is", "France")
        == len(ids) - 1
    )
    behind = "One two. The capital of France is"
    place = subject_end(backbone, behind, "The capital of France is", "France")
    assert place == len(backbone.ids("One two. The capital of France")) - 1
    assert len(backbone.ids("鄂")) > 1  # one character in several tokens
    assert subject_end(backbone, "鄂 is", "鄂 is", "鄂") == len(backbone.ids("鄂")) - 1


def test_rome_maps_the_edited_key_to_its_value_exactly(backbone):
    rome = method("rome", backbone)
    (change,) = rome.propose(REQUESTS[:1])
    rows = asked_rows(backbone, REQUESTS[:1])
    (path,) = rome.paths
    key, before = keys_at(backbone, rows, path, 1)
    _, after = keys_at(backbone, rows, path, 1, [patch_of(change)])
    a, b = change.layers[path].factors
    assert torch.allclose(a @ key[0], torch.ones(1), atol=1e-4)
    assert torch.allclose(after - before, b.T, atol=1e-4) and b.norm() > 0
    c = rome.covariance[path]
    read = torch.linalg.solve(c, key[0].double())  # C^-1 k
    assert torch.nn.functional.cosine_similarity(a[0].double(), read, dim=0) > 0.999
    assert len(CONTEXTS) == len(rows.joined)


def test_emmet_maps_every_key_of_several_edits_to_its_own_value(backbone):
    emmet = method("emmet", backbone)
    change = emmet.together(REQUESTS)
    (path,) = emmet.paths
    layer = change.layers[path]
    a, b = layer.factors
    assert torch.allclose(layer.keys @ a.T, torch.eye(3), atol=1e-3)
    assert torch.allclose(layer.dense() @ layer.keys.T, b, atol=1e-3 * b.abs().max())
    combined = emmet.combine(emmet.propose(REQUESTS)).layers[path]
    assert torch.allclose(combined.dense(), layer.dense(), atol=1e-4 * layer.dense().abs().max())


def test_memit_solves_its_normal_equation_in_every_block(backbone):
    memit = method("memit", backbone)
    change = memit.together(REQUESTS)
    assert len(memit.paths) > 1
    for path, layer in change.layers.items():
        a, k = layer.factors[0].double(), layer.keys.double()
        weight = memit.config.weight * k.shape[1]
        assert torch.allclose(a @ (weight * memit.covariance[path] + k.T @ k), k, atol=1e-4)


def test_alphaedit_leaves_what_preserved_keys_put_out_alone(backbone):
    alpha = method("alphaedit", backbone)
    random = torch.Generator().manual_seed(0)
    preserved = {}
    for path in alpha.paths:
        kept = torch.randn(9, backbone.shape(path)[1], generator=random, dtype=torch.float64)
        preserved[path] = kept
        alpha.covariance[path] = kept.T @ kept / len(kept)
    change = alpha.together(REQUESTS)
    for path, layer in change.layers.items():
        own = (layer.dense().double() @ layer.keys.double().T).abs().max()
        there = (layer.dense().double() @ preserved[path].T).abs().max()
        assert there < 1e-4 * own
    before = alpha.one_after_another(REQUESTS[:2])
    after = alpha.extend(before, REQUESTS[2])
    for path, layer in after.layers.items():
        kept = before.layers[path].keys
        assert len(kept) == 2
        own, there = ((layer.dense() @ k.T).norm() / k.norm() for k in (layer.keys, kept))
        assert there < 0.5 * own  # keys of all earlier edits count among those to be kept


def test_ultraedit_equals_the_dense_solve(backbone):
    ultra = load_method("ultraedit", backbone)
    change = ultra.propose(REQUESTS[:1])[0]
    for layer in change.layers.values():
        h, b = (factor.double() for factor in layer.factors)
        v = (h @ h.T + torch.eye(len(h), dtype=h.dtype)) @ b.T
        dense = torch.linalg.solve(h.T @ h + torch.eye(h.shape[1], dtype=h.dtype), h.T @ v).T
        assert torch.allclose(layer.dense().double(), dense, atol=1e-5 * dense.abs().max())
    scales = [deviation for pair in ultra.scales.values() for _, deviation in pair]
    assert all((deviation > 0).all() and deviation.isfinite().all() for deviation in scales)
    together = ultra.combine(ultra.propose(REQUESTS))
    assert ultra.combine([change]).rank == change.rank < together.rank


def test_values_can_be_anchored_to_the_base_models_length(backbone):
    rome = method("rome", backbone, anchored=True, steps=5)
    rows = asked_rows(backbone, REQUESTS)
    z, _ = rome._sought(REQUESTS, rows, None)
    _, value = keys_at(backbone, rows, rome.paths[-1], 3)
    assert torch.allclose((value + z).norm(dim=1), value.norm(dim=1), rtol=1e-4)


def test_graces_balls_answer_inside_and_shrink_where_they_meet(backbone):
    grace = load_method("grace", backbone, hyper=hyperparameters("grace", {"steps": 3}))
    changes = grace.propose(REQUESTS[:2])
    own = changes[0].books[grace.path]
    x, y = own.keys.clone(), torch.zeros_like(own.values)
    assert torch.equal(own.output(x, y), own.values)
    far = x + 1.01 * own.radii[:, None] * torch.nn.functional.normalize(torch.ones_like(x), dim=1)
    assert torch.equal(own.output(far, y), y)
    both = grace.combine(changes).books[grace.path]
    distance = torch.dist(both.keys[0], both.keys[1])
    assert len(both.keys) == 2 and both.radii.sum() <= distance + 1e-5 or (both.radii == own.radii).any()


def test_a_stored_edit_is_found_by_its_own_words_among_a_thousand(backbone):
    ike = load_method("ike", backbone)
    words = [f"The colour of the {a} {b} is" for a in range(40) for b in range(25)]
    changes = ike.propose([EditRequest(prompt, "red") for prompt in words])
    whole = ike.combine(changes)
    found = [whole.retriever(prompt, whole.stored, backbone)[0].prompt for prompt in words[::50]]
    assert found == words[::50]
