"""The value form of an edit: files, norms, sums, and refusals."""

import copy
import pickle

import pytest
import torch
from safetensors import safe_open

from model_zoo.changes import Delta, Factors, LayerDelta, concatenate

from .makers import random_delta


def test_a_file_holds_what_the_format_says_and_comes_back_equal(gpt2, tmp_path):
    delta = random_delta(gpt2)
    path = delta.save(tmp_path / "new folder")
    with safe_open(str(path), framework="pt") as file:
        assert set(file.metadata()) == {"format_version", "provenance"}
        assert f"{gpt2.last_blocks(1)[0]}.A" in file.keys()
    again = Delta.load(path)
    assert Delta.from_bytes(delta.to_bytes({"edits": []})).norms() == again.norms()
    for name, layer in delta.layers.items():
        assert torch.equal(layer.A, again.layers[name].A) and torch.equal(layer.B, again.layers[name].B)


@pytest.mark.parametrize("clone", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy])
def test_deltas_cross_process_borders(gpt2, clone):
    delta = random_delta(gpt2)
    assert torch.equal(clone(delta).layers[gpt2.last_blocks(1)[0]].A, delta.layers[gpt2.last_blocks(1)[0]].A)


def test_a_delta_is_immutable(gpt2):
    delta = random_delta(gpt2)
    with pytest.raises(TypeError):
        delta.layers["x"] = None
    with pytest.raises(AttributeError):
        delta.layers = {}


def test_norms_come_from_factors(gpt2):
    for layer in random_delta(gpt2).layers.values():
        assert layer.norm() == pytest.approx(layer.dense().norm().item(), rel=1e-4)
        assert layer.scaled(0.5).norm() == pytest.approx(0.5 * layer.norm(), rel=1e-5)


def test_concatenation_is_the_sum_and_turns_dense_when_that_is_smaller(gpt2):
    few = [random_delta(gpt2, seed) for seed in range(3)]
    path = gpt2.last_blocks(1)[0]
    d_out, d_in = gpt2.shape(path)
    low = concatenate(few).layers[path]
    assert low.D is None and low.rank == 9
    many = [random_delta(gpt2, seed) for seed in range(1 + d_in * d_out // (d_in + d_out) // 3)]
    high = concatenate(many).layers[path]
    assert high.D is not None
    for result, parts in ((low, few), (high, many)):
        assert torch.allclose(result.dense(), sum(p.layers[path].dense() for p in parts), atol=1e-4)


def test_mixed_low_rank_and_dense_factors(gpt2):
    path = gpt2.last_blocks(1)[0]
    low = random_delta(gpt2)
    dense = Delta({path: LayerDelta(D=low.layers[path].dense())})
    x = torch.randn(2, 5, gpt2.shape(path)[1])
    out = Factors.of([Delta({path: low.layers[path]}), dense], [0, 1]).added(path, x)
    assert torch.allclose(out[0], x[0] @ dense.layers[path].D.T, atol=1e-4)
    assert torch.allclose(out[1], x[1] @ dense.layers[path].D.T, atol=1e-4)


def test_broken_and_foreign_files_are_refused(tmp_path, gpt2):
    path = random_delta(gpt2).save(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cannot be read as a delta file"):
        Delta.load(path)
    from safetensors.torch import save_file

    save_file({"x.A": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="this program reads format 1 and 2"):
        Delta.load(path)
    with pytest.raises(ValueError, match="cannot be read"):
        Delta.load(tmp_path / "none")


def test_half_a_low_rank_layer_is_refused():
    with pytest.raises(ValueError, match="either both A and B, or D alone"):
        LayerDelta(A=torch.zeros(1, 2))
    with pytest.raises(ValueError, match="both must be the rank"):
        LayerDelta(A=torch.zeros(1, 2), B=torch.zeros(2, 3))
