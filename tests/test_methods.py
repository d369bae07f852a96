"""The hypernetwork's update, the joint solve, FT-L."""

from dataclasses import replace

import pytest
import torch

from model_zoo.changes import LayerDelta, LayerFactors, patch_of
from model_zoo.generation import probabilities
from model_zoo.methods import METHODS, load_method
from model_zoo.methods.capture import keep_tokens, token_width
from model_zoo.methods.editor_folder import EditorConfig
from model_zoo.methods.fine_tuning import by_width
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.hypernetwork import Hypernetwork
from model_zoo.methods.instructedit import InstructEdit
from model_zoo.methods.instruction import InstructionReader, Instructions
from model_zoo.methods.ridge import correct, corrected, solve
from model_zoo.methods.whitening import leading_basis
from model_zoo.request import EditRequest, instructed
from model_zoo.session import combine

from .makers import (
    FAR,
    FITS,
    LEADING,
    READS,
    REQUESTS,
    WHITE,
    edit_of,
    far_editor,
    random_editor,
    whitened_editor,
)


def dense_update(editor: InstructEdit, request: EditRequest, path: str) -> torch.Tensor:
    """The update of MEND as written in the paper: token by token, matrix by matrix, with dense outer
    products.
    """
    row = editor.backbone.join(request.text, request.target)
    inputs, grads, _ = editor.backbone.capture([row], list(editor.config.modules))
    key = next(k for k, paths in editor.network.groups.items() if path in paths)
    m, net = editor.network.groups[key].index(path), editor.network.networks[key]
    total = torch.zeros(editor.backbone.shape(path))
    for u, delta in zip(inputs[path][0], grads[path][0], strict=True):
        if not u.any() or not delta.any():
            continue
        h = torch.cat(
            [
                (u - net.u_mean[m]) / (net.u_std[m] + 1e-7),
                (delta - net.delta_mean[m]) / (net.delta_std[m] + 1e-12),
            ]
        )
        for layer in net.layers:
            h = (
                torch.clamp(
                    layer.scale[m] * (layer.A.T @ (layer.B.T @ h) + layer.bias) + layer.shift[m], min=0
                )
                + h
            )
        total -= editor.network.log_lr[key].exp()[m] * torch.outer(h[net.d_in :], h[: net.d_in])
    return total.detach()


def test_the_update_equals_dense_maths(backbone):
    editor = random_editor(backbone)
    for request, delta in zip(REQUESTS, editor.propose(REQUESTS), strict=True):
        assert set(delta.layers) == set(editor.config.modules)
        for path, layer in delta.layers.items():
            expected = dense_update(editor, request, path)
            assert torch.allclose(layer.dense(), expected, atol=1e-6 + 1e-4 * expected.abs().max())


def test_proposing_does_not_touch_the_base_and_keeps_only_tokens_with_a_gradient(gpt2):
    editor = random_editor(gpt2)
    before = [p.clone() for p in gpt2.model.parameters()]
    (delta,) = editor.propose(REQUESTS[:1])
    assert all(torch.equal(a, b) for a, b in zip(before, gpt2.model.parameters(), strict=True))
    target_tokens = (
        len(gpt2.join("The capital of France is", "Paris").ids)
        - gpt2.join("The capital of France is", "Paris").start
    )
    assert delta.layers[gpt2.last_blocks(1)[-1]].rank == target_tokens
    assert delta.layers[gpt2.last_blocks(1)[-1]].K.shape == (
        target_tokens,
        gpt2.shape(gpt2.last_blocks(1)[-1])[1],
    )


def test_the_instruction_changes_the_edit_and_none_is_mend(gpt2):
    editor = random_editor(gpt2)
    plain, with_one = editor.propose([REQUESTS[1].plain(), REQUESTS[1]])
    path = gpt2.last_blocks(1)[0]
    assert not torch.allclose(plain.layers[path].dense(), with_one.layers[path].dense(), atol=1e-4)
    assert REQUESTS[1].plain().text == "One two"
    assert (
        instructed("One two", "recent", "Count on.") == "Task: recent\nDescription: Count on.\nInput: One two"
    )


def test_zero_rows_are_never_kept():
    u, delta = torch.ones(1, 4, 2), torch.ones(1, 4, 3)
    u[0, 1], delta[0, 2] = 0, 0
    kept = keep_tokens(u, delta, torch.tensor([[True, True, True, False]]))
    assert kept.kept.tolist() == [[True]]


def two_layers(rank: int, generator: torch.Generator) -> list[LayerDelta]:
    """Changes of two edits to a matrix of 10 x 12, with their keys."""
    return [
        LayerDelta(
            A=torch.randn(rank, 12, generator=generator),
            B=torch.randn(10, rank, generator=generator),
            K=torch.randn(rank, 12, generator=generator),
        )
        for _ in range(2)
    ]


def test_the_joint_solve_is_the_ridge_solution_in_any_order():
    generator = torch.Generator().manual_seed(0)
    layers = two_layers(3, generator)
    root = torch.randn(12, 12, generator=generator)
    covariance = root.T @ root / 12
    u = torch.cat([layer.K for layer in layers]).double()
    y = torch.cat([layer.K @ layer.dense().T for layer in layers]).double()
    system = (
        u.T @ u
        + 0.1 * len(u) * covariance.double()
        + 0.01 * u.square().sum(1).mean() * torch.eye(12, dtype=torch.float64)
    )
    expected = torch.linalg.solve(system, u.T @ y).T.float()
    for order in (layers, layers[::-1]):
        assert torch.allclose(solve(order, covariance, 0.01, 0.1).dense(), expected, atol=1e-4)
    many = layers * 4  # rank beyond the low-rank form
    assert solve(many, covariance, 0.01, 0.1).D is not None


def test_edits_corrected_for_each_other_do_on_their_own_keys_what_they_do_alone():
    generator = torch.Generator().manual_seed(0)
    layers = two_layers(2, generator)
    for order in (layers, layers[::-1]):
        change = correct(order, 1e-9)
        assert change.rank == 4 and change.D is None
        for layer in layers:
            assert torch.allclose(layer.K @ change.dense().T, layer.K @ layer.dense().T, atol=1e-3)
    loose = correct(layers, 1e9)  # nothing is corrected: their sum
    assert torch.allclose(loose.dense(), layers[0].dense() + layers[1].dense(), atol=1e-4)
    many = [*layers, LayerDelta(A=layers[0].A + 1, B=layers[1].B, K=layers[1].K - 1)]
    u, a = (torch.cat([getattr(layer, name) for layer in many]).double() for name in "KA")
    y = torch.cat([layer.K @ layer.dense().T for layer in many]).double()
    b = torch.cat([layer.B for layer in many], 1).double()
    whole = correct(many, 0.01)  # beyond the low-rank form, the same change in the matrix's own size
    assert whole.D is not None
    assert torch.allclose(whole.dense(), (corrected(u, y, a, b, 0.01) @ a).float(), atol=1e-4)


def test_combining_does_not_depend_on_the_order(gpt2):
    editor = random_editor(gpt2)
    deltas = editor.propose(REQUESTS)
    one, other = editor.combine(deltas), editor.combine(deltas[::-1])
    assert editor.combine(deltas[:1]) is deltas[0]
    for path in one.layers:
        assert torch.allclose(one.layers[path].dense(), other.layers[path].dense(), atol=1e-5)


def test_ft_l_makes_the_target_likely_within_its_bound(backbone):
    method = load_method("ft-l", backbone)
    request = EditRequest("The capital of France is", "Paris")
    before = probabilities(backbone, [request.prompt], [request.target])[0]
    (delta,) = method.propose([request])
    after = probabilities(backbone, [request.prompt], [request.target], [patch_of(delta)])[0]
    assert after > before
    for layer in delta.layers.values():
        bound = method.config.epsilon * by_width(layer.shape[1])
        assert layer.D.abs().max().item() <= bound * (1 + 1e-6)


def test_methods_of_both_kinds_combine_into_one_patch(gpt2):
    editor, ftl = random_editor(gpt2), load_method("ft-l", gpt2)
    a, b = editor.propose(REQUESTS[:1])[0], ftl.propose(REQUESTS[1:])[0]
    loaded = {"instructedit": editor, "ft-l": ftl}
    edits = [edit_of(a), edit_of(b, method="ft-l")]
    patch = combine(edits, lambda name, hyper: loaded[name]).delta
    for path in patch.layers:
        parts = [d.layers[path].dense() for d in (a, b) if path in d.layers]
        assert torch.allclose(patch.layers[path].dense(), sum(parts), atol=1e-4)
    assert combine([], lambda name, hyper: loaded[name]) is None


@pytest.mark.parametrize("hyper", [WHITE, LEADING])
def test_a_whitened_network_begins_with_what_tells_a_key_from_those_of_the_base(gpt2, hyper):
    """u~ of an untrained network points along u (C + share mean(eigenvalues) I)^-1, and its basis gives that
    matrix back.
    """
    editor = whitened_editor(gpt2, hyper)
    for layer in (layer for network in editor.network.networks.values() for layer in network.layers):
        torch.nn.init.zeros_(layer.A)
        torch.nn.init.zeros_(layer.bias)
        torch.nn.init.zeros_(layer.shift)
    captured = editor.capture([editor.join(REQUESTS[0])])
    for path, update in editor.updates(captured).items():
        u, regular = captured.layers[path].u[0], editor.network.covariance(path)
        expected = torch.linalg.solve(regular.double(), u.T.double()).T.float()
        assert torch.allclose(
            torch.cosine_similarity(update.A[0], expected, dim=-1), torch.ones(len(u)), atol=1e-3
        )


def test_leading_directions_keep_their_eigenvalue_and_the_others_share_their_mean():
    values = torch.tensor([9.0, 4.0, 1.0, 0.5, 0.3])
    vectors = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    basis = leading_basis(vectors @ values.diag() @ vectors.T, 0.1, 2)
    expected = torch.tensor([9.0, 4.0, 0.6, 0.6, 0.6]) + 0.1 * values.mean()
    torch.testing.assert_close(
        basis.covariance(), vectors @ expected.diag() @ vectors.T, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        basis.write(basis.read(torch.eye(5))) @ basis.covariance(), torch.eye(5), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(ValueError, match="needs whitened keys"):
        HyperConfig(whitened_rank=4)


def test_a_bare_prompts_gradient_is_read_under_any_instruction(gpt2):
    """Without the prefix in its gradient an edit differs by what is read of its instruction, and by nothing
    else.
    """
    editor = random_editor(gpt2, hyper=READS.model_copy(update={"prefixed": False}))
    rows, plain = ([editor.join(r) for r in part] for part in (REQUESTS, [r.plain() for r in REQUESTS]))
    captured, bare = editor.capture(rows, plain=plain), editor.capture(plain)
    for path, layer in captured.layers.items():
        assert torch.equal(layer.u, bare.layers[path].u) and torch.equal(layer.delta, bare.layers[path].delta)
    assert captured.instructions is not None and bare.instructions is None
    one, other = (
        editor.propose([replace(REQUESTS[0], instruction=text)])[0] for text in ("Say it.", "Never mind.")
    )
    assert any(not torch.equal(one.layers[p].B, other.layers[p].B) for p in one.layers)


def test_an_instruction_can_have_an_edit_answer_to_all_keys_of_its_relation(gpt2):
    """Keys of one relation share a direction. Reaching along it, a change answers to another key of the
    relation nearly as to its own, and to one of another relation hardly; before it has learned to, it reaches
    no further than without.
    """
    editor = random_editor(gpt2, hyper=FAR)
    path, (_, width) = next(iter(editor.config.modules.items()))
    torch.manual_seed(1)
    relations = [4 * torch.randn(width) + torch.randn(30, width) for _ in range(2)]
    pool = torch.cat(relations)
    editor.network.whiten({path: pool.T @ pool / len(pool)})
    editor.network.find_common({path: [keys[1:] for keys in relations]})
    key, m = editor.network._place(path)
    network, matrix, read = editor.network.networks[key], torch.tensor([m, m]), torch.ones(2, 6)
    asked = editor.network._coordinates(path, torch.stack([keys[0] for keys in relations]))
    for head in (network.keep, network.stretch):
        torch.nn.init.zeros_(head.weight)
    written = []
    for reach in (0.0, 1 / 6):
        torch.nn.init.constant_(network.reach.weight, reach)
        written.append(network(asked, torch.ones(2, network.d_out), matrix, read)[0])
    far = written[1] - written[0]
    torch.nn.init.constant_(
        network.keep.weight, -20.0
    )  # what tells the keys from others of their relation is left out
    assert torch.allclose(
        network(asked, torch.ones(2, network.d_out), matrix, read)[0], far, rtol=1e-3, atol=1e-3
    )
    torch.nn.init.constant_(network.stretch.weight, 0.1)  # and a relation's way may be longer than another's
    longer = network(asked, torch.ones(2, network.d_out), matrix, read)[0].norm(dim=1) / far.norm(dim=1)
    along = torch.nn.functional.normalize(asked @ network.common[m].T, dim=-1)
    assert torch.allclose(longer, (0.1 * along.sum(1)).exp(), rtol=1e-4)
    torch.nn.init.zeros_(network.common)
    torch.nn.init.zeros_(network.keep.weight)
    assert torch.equal(network(asked, torch.ones(2, network.d_out), matrix, read)[0], written[0])
    assert torch.allclose(far.norm(dim=1), asked.norm(dim=1), rtol=1e-4)
    answers = [
        editor.network._coordinates(path, keys[1:]) @ far.T / (asked * far).sum(1) for keys in relations
    ]
    for own, other in ((0, 1), (1, 0)):
        assert answers[own][:, own].mean() > 0.8 and answers[own][:, other].abs().mean() < 0.2


def test_a_reach_needs_whitened_keys_and_an_instruction():
    for given in ({"common": 4}, {"common": 4, "whitened": 0.1}, {"common": 4, "instruction": 6}):
        with pytest.raises(ValueError, match="common"):
            HyperConfig(**given)


def test_an_untrained_editor_reads_nothing_and_a_trained_one_reads_the_instruction(backbone):
    modules = {path: backbone.shape(path) for path in backbone.last_blocks(2)}
    torch.manual_seed(0)
    config = EditorConfig(base_model=backbone.name, modules=modules, hyper=READS)
    fresh = InstructEdit(backbone, config, Hypernetwork(modules, READS, token_width(backbone)))
    blind = InstructEdit(backbone, config, Hypernetwork(modules, HyperConfig(rank=8)))
    blind.network.load_state_dict(fresh.network.state_dict(), strict=False)
    for a, b in zip(fresh.propose(REQUESTS), blind.propose(REQUESTS), strict=True):
        assert all(torch.equal(a.layers[path].dense(), b.layers[path].dense()) for path in modules)

    editor = random_editor(backbone, hyper=READS)
    told = [
        EditRequest("One two", "three", "scope", wording)
        for wording in ("Change it.", "Leave all of it as it is.")
    ]
    editor.network.reader.out.weight.data /= 30  # random weights this large saturate it
    captured = editor.capture([editor.join(request) for request in told])
    told = captured.instructions
    read, swapped = (editor.network.read(i) for i in (told, Instructions(told.x.flip(0), told.real.flip(0))))
    for path, own in editor.network(captured.layers, read).items():
        other = editor.network(captured.layers, swapped)[path]
        assert all((a - b).norm() > 0.01 * a.norm() for a, b in ((own.A, other.A), (own.B, other.B)))


def test_the_order_of_an_instructions_words_is_read_with_a_span_and_padding_never():
    torch.manual_seed(0)
    words, backwards = torch.randn(1, 5, 8), torch.tensor([4, 3, 2, 1, 0])
    told = Instructions(words, torch.ones(1, 5, dtype=torch.bool))
    turned = Instructions(words[:, backwards], told.real)
    longer = Instructions(torch.cat([words, torch.randn(1, 3, 8)], 1), torch.arange(8)[None] < 5)
    for span in (1, 2, 3):
        reader = InstructionReader(8, 6, span).eval()
        alone = InstructionReader(8, 6).eval()
        alone.load_state_dict(reader.state_dict(), strict=False)
        assert torch.equal(reader(told), alone(told))  # untrained, the spans say nothing
        if span > 1:
            torch.nn.init.normal_(reader.out_spans.weight)
        assert torch.allclose(reader(told), reader(turned), atol=1e-6) == (span == 1)
        assert torch.allclose(reader(told), reader(longer), atol=1e-6)


@pytest.mark.parametrize("hyper", [READS, FAR, FITS])
def test_without_an_instruction_nothing_is_read(gpt2, hyper):
    editor = far_editor(gpt2) if hyper is FAR else random_editor(gpt2, hyper=hyper)
    alone, beside = editor.propose([REQUESTS[0]])[0], editor.propose([REQUESTS[0], REQUESTS[1]])[0]
    bare = editor.propose([REQUESTS[0].plain()])[0]
    for path, layer in alone.layers.items():
        assert torch.allclose(layer.dense(), beside.layers[path].dense(), atol=1e-5)
        assert torch.allclose(layer.dense(), bare.layers[path].dense(), atol=1e-5)


def dense(layer: LayerFactors) -> torch.Tensor:
    if layer.D is not None:
        return layer.D[0]
    a, b = layer.factors
    return b[0] @ a[0]


@pytest.mark.parametrize("own", [False, True])
def test_training_solves_a_stack_as_the_session_does_and_learns_from_it(gpt2, own):
    editor = random_editor(gpt2, hyper=READS.model_copy(update={"corrected": own}))
    root = {path: torch.randn(shape[1], shape[1]) for path, shape in editor.config.modules.items()}
    editor.covariance = {path: r.T @ r / len(r) for path, r in root.items()}
    captured = editor.capture([editor.join(request) for request in REQUESTS])
    live = editor.stacked(captured, editor.updates(captured))
    patch = editor.combine(editor.propose(REQUESTS))
    for path, layer in live.items():
        expected = patch.layers[path].dense()
        assert torch.allclose(dense(layer).detach(), expected, atol=1e-3 * expected.abs().max())
    sum(dense(layer).square().sum() for layer in live.values()).backward()
    learned = {
        name: p.grad
        for name, p in editor.network.named_parameters()
        if name.startswith("log_ridge") or "token_weight" in name
    }
    assert len(learned) == 2 * len(editor.network.groups) and all(
        g is not None and g.abs().sum() > 0 for g in learned.values()
    )


def test_ft_l_fits_several_edits_together_and_goes_on_from_a_change(gpt2):
    method, requests = (
        load_method("ft-l", gpt2),
        [EditRequest("The capital of France is", "Paris"), EditRequest("One two three", "four")],
    )
    together = method.together(requests)
    before = probabilities(gpt2, [r.prompt for r in requests], [r.target for r in requests])
    after = probabilities(
        gpt2, [r.prompt for r in requests], [r.target for r in requests], [patch_of(together)] * 2
    )
    assert all(a > b for a, b in zip(after, before, strict=True))
    again = method.extend(method.propose(requests[:1])[0], requests[1])
    assert probabilities(gpt2, [requests[1].prompt], ["four"], [patch_of(again)])[0] > before[1]


def test_registered_names_are_their_own_keys():
    assert all(name == info.name and name == name.lower() for name, info in METHODS.items())
