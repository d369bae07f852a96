"""The kinds of change that touch no weight, side by side with one that does."""

import pickle

import pytest
import torch

from model_zoo.changes import Codebook, Memory, Patch, Rewrite, SideMatrices, StoredEdit, live
from model_zoo.generation import probabilities
from model_zoo.joining import Joined

from .makers import random_delta

ROW = ("The capital of France is", "Paris")


class Always:
    """A retriever that finds every stored edit in scope."""

    def __call__(self, prompt, stored, backbone):
        return stored


def key_of(backbone, path: str) -> torch.Tensor:
    """The input [d_in] of a module at the last token of ROW's prompt."""
    row: Joined = backbone.join(*ROW)
    return backbone.inputs([row], [path])[0][path][0, row.start - 1]


def test_a_memory_speaks_for_its_key_alone(gpt2):
    path = gpt2.last_blocks(1)[-1]
    d_out, _ = gpt2.shape(path)
    key, value = key_of(gpt2, path), torch.full((1, d_out), 5.0)
    prompts, targets = [ROW[0], "One two three"], [ROW[1], "four"]
    base = probabilities(gpt2, prompts, targets)
    near = Patch((Memory({path: Codebook(key[None], torch.tensor([1e-3]), value)}),))
    said = probabilities(gpt2, prompts, targets, [near, near])
    assert said[0] != base[0] and said[1] == base[1]
    far = Patch((Memory({path: Codebook(key[None] + 100, torch.tensor([1e-3]), value)}),))
    assert probabilities(gpt2, prompts, targets, [far, far]) == base
    again = pickle.loads(pickle.dumps(near))
    assert probabilities(gpt2, prompts, targets, [again, again]) == said
    adds = Patch(
        (Memory({path: Codebook(key[None], torch.tensor([1e-3]), torch.zeros_like(value), adds=True)}),)
    )
    assert probabilities(gpt2, prompts, targets, [adds, adds]) == pytest.approx(base, rel=1e-6)


def test_a_codebook_of_odd_sizes_is_refused():
    with pytest.raises(ValueError, match="every key needs a radius and a value"):
        Codebook(torch.zeros(2, 3), torch.zeros(1), torch.zeros(2, 3))


def side_matrix(backbone, path: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(D [d_out, d_in], inputs [T, d_in] of ROW, a threshold between their activations) of a side matrix."""
    d = torch.randn(*backbone.shape(path), generator=torch.Generator().manual_seed(0))
    x = backbone.inputs([backbone.join(*ROW)], [path])[0][path][0]
    active = (x @ d.T).norm(dim=1).sort().values
    return d, x, active[len(x) // 2 :][:2].mean()


def test_a_side_matrix_speaks_where_it_is_active_and_nowhere_else(gpt2):
    path = gpt2.last_blocks(1)[-1]
    d, x, threshold = side_matrix(gpt2, path)
    y, on = gpt2.linear(path, x), (x @ d.T).norm(dim=1) > threshold
    out = SideMatrices(d[None], threshold[None]).output(x, y)
    module = gpt2.model.get_submodule(path)
    beside = torch.nn.functional.linear(x, gpt2.weight(path) + d, module.bias)
    assert on.any() and torch.allclose(out[on], beside[on], atol=1e-5)
    assert not on.all() and torch.equal(out[~on], y[~on])
    with pytest.raises(ValueError, match=r"need D \[n, d_out, d_in\] and thresholds \[n\]"):
        SideMatrices(d, threshold[None])


def test_of_several_side_matrices_the_most_active_is_used(gpt2):
    path = gpt2.last_blocks(1)[-1]
    d, x, _ = side_matrix(gpt2, path)
    y, least = gpt2.linear(path, x), (x @ d.T).norm(dim=1).min() / 2
    for thresholds, winner in (([least, least], 3 * d), ([least, 10 * least], d)):
        both = SideMatrices(torch.stack([d, 3 * d]), torch.stack(thresholds))
        assert torch.allclose(both.output(x, y), y + x @ winner.T, atol=1e-5)
        other = SideMatrices(both.D.flip(0), both.thresholds.flip(0))
        assert torch.equal(other.output(x, y), both.output(x, y))


def test_a_side_matrix_writes_the_same_text_with_and_without_a_cache(backbone):
    path = backbone.linears(1, 1)[-1]
    d, _, threshold = side_matrix(backbone, path)
    patch = Patch((Memory({path: SideMatrices(d[None], threshold[None])}),))
    ids = torch.tensor([backbone.ids(ROW[0])])

    def said(patch: Patch | None, cached: bool) -> list[int]:
        with torch.no_grad(), backbone.edited(live([patch], backbone)):
            return backbone.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=12,
                do_sample=False,
                use_cache=cached,
            )[0].tolist()

    assert said(patch, True) == said(patch, False) != said(None, True)
    assert said(pickle.loads(pickle.dumps(patch)), True) == said(patch, True)


def test_kinds_stand_side_by_side_in_one_patch(gpt2):
    """A rewrite and a weight change together do what each does, the rewrite first."""
    rewrite = Rewrite((StoredEdit("One two", "three"),), Always())
    delta = random_delta(gpt2)
    both, alone = Patch.of([rewrite, delta]), Patch.of([delta])
    assert both.delta is delta and both.beside_weights == (rewrite,)
    assert rewrite.rewritten(ROW[0], gpt2) == "One two three.\nThe capital of France is"
    (together,) = probabilities(gpt2, [ROW[0]], [ROW[1]], [both])
    (written_out,) = probabilities(gpt2, [rewrite.rewritten(ROW[0], gpt2)], [ROW[1]], [alone])
    assert together == pytest.approx(written_out, rel=1e-6)
    assert Patch.of([]) is None and live([None, None], gpt2) is None
    seen = live([None, both], gpt2)
    assert seen.prompts([ROW[0], ROW[0]]) == [ROW[0], rewrite.rewritten(ROW[0], gpt2)]


def test_two_changes_of_one_kind_follow_one_another(gpt2):
    first, second = (Rewrite((StoredEdit(text, "x"),), Always()) for text in ("A", "B"))
    assert live([Patch((first, second))], gpt2).prompts(["c"]) == ["B x.\nA x.\nc"]
