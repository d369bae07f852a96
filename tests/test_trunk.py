"""What the unedited blocks make of rows is kept, and everything above them is as without it."""

import random

import pytest
import torch

from model_zoo.changes import live, patch_of
from model_zoo.request import EditRequest
from model_zoo.trunk import KeptTrunk

from .makers import pico_backbone, random_delta

PAIRS = [
    ("One two three", "four five"),
    ("The capital of France is", "Paris"),
    ("What do you think of", "jazz"),
]
CLOSE = {"atol": 2e-3, "rtol": 2e-3}  # states are kept in float16


def rows(backbone):
    return [backbone.join(*pair) for pair in PAIRS]


def test_edited_and_base_logits_are_those_of_the_whole_model(backbone, tmp_path):
    own, trunk = rows(backbone), KeptTrunk(backbone, backbone.blocks - 2, tmp_path)
    seen = live([patch_of(random_delta(backbone)), None, patch_of(random_delta(backbone, 2))], backbone)
    with torch.no_grad():
        whole = [backbone.target_logits(backbone.batch(own), change) for change in (None, seen)]
        with backbone.kept_below(trunk):
            for _ in range(2):  # computed, then read
                parts = [backbone.target_logits(backbone.batch(own), change) for change in (None, seen)]
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    assert not torch.allclose(parts[0], parts[1], atol=1e-2)


def test_the_gradient_of_an_edit_is_that_of_the_whole_model(backbone, tmp_path):
    own, paths = rows(backbone), backbone.last_blocks(2)
    u, delta, real = backbone.capture(own, paths)
    with backbone.kept_below(KeptTrunk(backbone, backbone.blocks - 2, tmp_path)):
        kept_u, kept_delta, kept_real = backbone.capture(own, paths)
    assert torch.equal(real, kept_real)
    for path in paths:
        torch.testing.assert_close(u[path][real], kept_u[path][real], **CLOSE)
        torch.testing.assert_close(delta[path][real], kept_delta[path][real], **CLOSE)


def test_only_the_blocks_above_are_computed(tmp_path):
    backbone = pico_backbone("llama")
    trunk, seen = KeptTrunk(backbone, 2, tmp_path), []
    for block, module in enumerate(backbone.model.model.layers):
        module.mlp.register_forward_hook(lambda *a, block=block: seen.append(block))
    own = rows(backbone)
    with backbone.kept_below(trunk):
        batch = backbone.batch(own)
        seen.clear()
        backbone.hidden(batch)
        assert seen == [2, 3]
        seen.clear()
        backbone.target_logits(backbone.batch(own))  # the base's own answers need no block at all
        assert seen == []
    backbone.hidden(backbone.batch(own))
    assert seen == [0, 1, 2, 3]


def test_another_run_finds_what_was_kept_and_a_torn_file_is_cut_back(tmp_path):
    backbone = pico_backbone("gpt2")
    own = rows(backbone)
    first = KeptTrunk(backbone, 2, tmp_path)
    whole = first.kept(own)
    size = first.size
    with pytest.raises(ValueError, match="Another training keeps states"):
        KeptTrunk(backbone, 2, tmp_path)
    del first
    again = KeptTrunk(backbone, 2, tmp_path)
    assert again.size == size and all(map(torch.equal, again.kept(own), whole)) and again.size == size
    states = again.folder / "scaled.f16"
    del again
    states.write_bytes(states.read_bytes()[:-10])
    torn = KeptTrunk(backbone, 2, tmp_path)
    assert torn.size < size and all(map(torch.equal, torn.kept(own), whole)) and torn.size == size


def test_another_base_or_depth_has_its_own_file(tmp_path):
    a, b = pico_backbone("llama"), pico_backbone("llama", seed=1)
    folders = {str(KeptTrunk(base, first, tmp_path).folder) for base in (a, b) for first in (1, 2)}
    assert len(folders) == 4


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_any_length_come_in_any_order(seed, tmp_path):
    backbone, rng = pico_backbone("llama"), random.Random(seed)
    trunk = KeptTrunk(backbone, 1, tmp_path)
    own = [backbone.join("One two " * n, "three") for n in (1, 5, 2, 9)]
    for _ in range(3):
        rng.shuffle(own)
        entering, final = trunk.kept(own)
        with torch.no_grad():
            there, end = backbone.states(own, 1)
        mask = backbone.batch(own).attention_mask.bool()
        torch.testing.assert_close(entering[mask], there[mask], **CLOSE)
        torch.testing.assert_close(final[mask], end[mask], **CLOSE)


def test_states_beyond_float16_are_kept_too(tmp_path):
    backbone = pico_backbone("gemma3_text")
    backbone.model.get_input_embeddings().weight.data *= 1e6
    own = rows(backbone)
    entering, final = KeptTrunk(backbone, 1, tmp_path).kept(own)
    with torch.no_grad():
        there, end = backbone.states(own, 1)
    mask = backbone.batch(own).attention_mask.bool()
    assert there.abs().max() > torch.finfo(torch.float16).max
    torch.testing.assert_close(entering[mask], there[mask], rtol=2e-3, atol=2e-3 * there.abs().max().item())
    torch.testing.assert_close(final[mask], end[mask], **CLOSE)


def test_an_edit_made_from_kept_states_is_the_edit(tmp_path):
    from model_zoo.methods import load_method

    backbone = pico_backbone("llama")
    request, ft_l = EditRequest("One two three", "four"), load_method("ft-l", backbone)
    (change,) = ft_l.propose([request])
    with backbone.kept_below(KeptTrunk(backbone, 1, tmp_path)):
        (kept,) = ft_l.propose([request])
    path = next(iter(change.layers))
    a, b = change.layers[path].dense(), kept.layers[path].dense()
    assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99
