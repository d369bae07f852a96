"""Every family: edits seen by their rows only, nothing left behind, captures that agree with autograd."""

import contextvars
import threading

import pytest
import torch

from model_zoo.changes import Factors

from .makers import ROWS, logits, pico_backbone, random_delta


def test_leaving_edited_is_bit_exact(backbone):
    before = logits(backbone)
    changed = logits(backbone, Factors.of([random_delta(backbone)], [0, 0, 0]))
    assert not torch.allclose(before, changed, atol=1e-3)
    assert torch.equal(before, logits(backbone))


def test_the_targets_logits_are_those_of_the_model_itself(backbone):
    """Also behind a cap on the logits, as Gemma 2 has one."""
    batch = backbone.batch([backbone.join(*row) for row in ROWS])
    with torch.no_grad():
        whole = backbone.model(**backbone.reading(batch)).logits
    assert torch.allclose(logits(backbone), whole[batch.predicting], atol=1e-5)


def test_strength_zero_is_the_base_bit_exactly(backbone):
    assert torch.equal(
        logits(backbone), logits(backbone, Factors.of([random_delta(backbone).scaled(0)], [0, 0, 0]))
    )


def test_rows_see_their_own_edit_only(backbone):
    first, second = random_delta(backbone, 1), random_delta(backbone, 2, rank=5)
    mixed = backbone.row_nll(
        backbone.batch([backbone.join(*r) for r in ROWS]), Factors.of([first, second], [1, -1, 0])
    )
    for row, delta in ((0, second), (1, None), (2, first)):
        alone = backbone.row_nll(
            backbone.batch([backbone.join(*ROWS[row])]), delta and Factors.of([delta], [0])
        )
        assert torch.allclose(mixed[row], alone[0], atol=1e-5)


def test_a_delta_equals_the_same_change_in_the_weights(backbone):
    delta = random_delta(backbone)
    live = logits(backbone, Factors.of([delta], [0, 0, 0]))
    for path, layer in delta.layers.items():
        backbone.weight(path).data += layer.dense()
    assert torch.allclose(live, logits(backbone), atol=1e-4)


def test_batched_capture_equals_single_captures(backbone):
    paths = backbone.last_blocks(3)
    rows = [backbone.join(*row) for row in ROWS]
    inputs, grads, real = backbone.capture(rows, paths)
    for i, row in enumerate(rows):
        single_inputs, single_grads, alone = backbone.capture([row], paths)
        n = len(row.ids)
        assert alone.any() and torch.equal(real[i].nonzero(), alone[0].nonzero())
        for path in paths:
            assert torch.allclose(inputs[path][i][real[i]], single_inputs[path][alone], atol=1e-5)
            assert torch.allclose(grads[path][i, :n], single_grads[path][0], atol=1e-5)
            assert (grads[path][i, n:] == 0).all()


def test_captured_factors_are_the_weight_gradient(backbone):
    """sum_t delta_t u_t^T is dL/dW as autograd computes it."""
    paths = backbone.last_blocks(2)
    row = backbone.join(*ROWS[1])
    inputs, grads, _ = backbone.capture([row], paths)
    for path in paths:
        weight = backbone.model.get_submodule(path).weight
        weight.requires_grad_(True)
        backbone.row_nll(backbone.batch([row])).sum().backward()
        expected = (
            weight.grad.T
            if tuple(weight.shape) != backbone.shape(path)
            or "Conv1D" in type(backbone.model.get_submodule(path)).__name__
            else weight.grad
        )
        assert torch.allclose(grads[path][0].T @ inputs[path][0], expected, atol=1e-5)
        weight.grad = None
        weight.requires_grad_(False)


def test_two_threads_with_two_deltas_do_not_leak(gpt2):
    deltas = [random_delta(gpt2, seed) for seed in (1, 2)]
    expected = [logits(gpt2, Factors.of([d], [0, 0, 0])) for d in deltas]
    barrier, wrong = threading.Barrier(2), []

    def work(i: int) -> None:
        with gpt2.edited(Factors.of([deltas[i]], [0, 0, 0])), torch.no_grad():
            barrier.wait()
            for _ in range(20):
                hidden = gpt2.hidden(batch := gpt2.batch([gpt2.join(*row) for row in ROWS]))
                seen = gpt2.model.get_output_embeddings()(hidden[batch.predicting]).float()
                if not torch.equal(seen, expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(work, i)) for i in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert wrong == []


def test_two_backbones_do_not_see_each_others_edit():
    a, b = pico_backbone("gpt2", 0), pico_backbone("gpt2", 1)
    plain = logits(b)
    with a.edited(Factors.of([random_delta(a)], [0, 0, 0])), torch.no_grad():
        hidden = b.hidden(batch := b.batch([b.join(*row) for row in ROWS]))
        assert torch.equal(plain, b.model.get_output_embeddings()(hidden[batch.predicting]).float())


def test_the_module_tree_and_state_stay_as_transformers_made_them(gpt2):
    fresh = pico_backbone("gpt2").model
    assert list(gpt2.model.state_dict()) == list(fresh.state_dict())
    logits(gpt2, Factors.of([random_delta(gpt2)], [0, 0, 0]))
    assert all(
        torch.equal(x, y)
        for x, y in zip(gpt2.model.state_dict().values(), fresh.state_dict().values(), strict=True)
    )


def test_a_text_longer_than_the_model_reads_is_refused(gpt2):
    with pytest.raises(ValueError, match="reads at most 256"):
        gpt2.join("word " * 200, "x")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_an_edit_on_cuda_equals_the_one_on_cpu():
    cpu, gpu = pico_backbone("llama"), pico_backbone("llama")
    gpu.model.to("cuda")
    delta = random_delta(cpu)
    a, b = (logits(m, Factors.of([delta], [0, 0, 0], m.device)).cpu() for m in (cpu, gpu))
    assert torch.allclose(a, b, atol=1e-3)
