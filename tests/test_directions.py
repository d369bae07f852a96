"""Directions from factors agree with dense ones; projections agree with the fit."""

import numpy as np
import pytest
import torch

from model_zoo.changes import LayerDelta
from model_zoo.directions import ALL, DirectionSpace, _products, separation_in_words
from model_zoo.tasks import TASKS

from .makers import ATLAS, pico_backbone, random_editor


@pytest.fixture(scope="module")
def atlas() -> DirectionSpace:
    editor = random_editor(pico_backbone("gpt2"))
    return DirectionSpace(editor.backbone, editor, ATLAS, per_task=4)


@pytest.mark.parametrize("view", ["update", "gradient"])
def test_the_gram_matrix_is_that_of_the_dense_directions(atlas, view):
    deltas = atlas.directions(atlas.requests(True), view)
    flat = np.stack(
        [
            np.concatenate([layer.dense().flatten().double().numpy() for layer in d.layers.values()])
            for d in deltas
        ]
    )
    assert np.allclose(
        atlas._gram(view, True, ALL), flat @ flat.T, rtol=1e-3, atol=1e-4 * np.abs(flat @ flat.T).max()
    )


@pytest.mark.parametrize(("d_in", "rank"), [(12, 40), (96, 2)])
def test_products_are_those_of_the_dense_deltas_by_either_way(d_in, rank):
    random_ = torch.Generator().manual_seed(0)
    layers = [
        LayerDelta(A=torch.randn(rank, d_in, generator=random_), B=torch.randn(d_in, rank, generator=random_))
        for _ in range(5)
    ]
    flat = torch.stack([layer.dense().flatten() for layer in layers]).double().numpy()
    assert np.allclose(_products(layers), flat @ flat.T, rtol=1e-4, atol=1e-2)


def test_a_reference_edit_is_projected_onto_its_own_point(atlas):
    for module in atlas.modules[:2]:
        m = atlas.map("update", True, module)
        for point in m.points[::5]:
            assert np.allclose(
                atlas.project(point.request, "update", True, module), point.position, atol=1e-3
            )


def test_a_reference_edit_agrees_with_itself_most(atlas):
    for i, request in enumerate(atlas.requests(False)[::5]):
        cosines = atlas.cosines(request, "gradient", False)
        assert cosines.argmax() == 5 * i and cosines[5 * i] == pytest.approx(1, abs=1e-4)
        assert len(cosines) == len(atlas.records) and cosines.min() >= -1.0001


def test_a_map_is_made_in_steps_and_who_comes_later_goes_on_there():
    editor = random_editor(pico_backbone("gpt2"))
    space = DirectionSpace(editor.backbone, editor, ATLAS, per_task=10)
    one, other = space.steps("update", True), space.steps("update", True)
    assert next(one) < next(other) < 1
    one.close()  # has gone
    shares = list(other)
    assert shares[-1] == 1.0 and len(shares) == len(space.modules)  # one batch was left, then each matrix
    assert list(space.steps("update", True)) == []


def test_a_map_says_how_much_it_shows(atlas):
    m = atlas.map("gradient", False)
    assert len(m.points) == 4 * len(TASKS) and {p.task for p in m.points} == set(TASKS)
    assert 0 < sum(m.explained) <= 1 + 1e-9 and list(m.explained) == sorted(m.explained, reverse=True)
    assert all(point.request.instruction is None for point in m.points)
    assert -1 <= m.silhouette_full <= 1


def test_words_follow_the_score():
    assert (
        "strong" in separation_in_words(0.8)
        and "weak" in separation_in_words(0.3)
        and "hardly" in separation_in_words(-0.1)
    )
