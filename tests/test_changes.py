"""The kinds of change that touch no weight, side by side with one that does."""

import pickle

import pytest
import torch

from model_zoo.changes import Codebook, Memory, Patch, Rewrite, StoredEdit, live
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
