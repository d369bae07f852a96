"""Every family that is registered, by what an edit needs of it; random pico models, nothing is fetched.

Models that are read from GGUF files: tests/test_gguf.py.
"""

from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig

from model_zoo.changes import Factors, live, patch_of
from model_zoo.export import export
from model_zoo.families import FAMILIES, Family, family_for, family_of, skeleton
from model_zoo.generation import generate
from model_zoo.inspecting.inside import lens
from model_zoo.loading import LoadOptions, load
from model_zoo.methods import METHODS, hyperparameters, load_method
from model_zoo.methods.hyperparameters import controls
from model_zoo.request import EditRequest
from model_zoo.session import EditSession

from .makers import (
    REQUESTS,
    ROWS,
    edit_of,
    logits,
    pico_backbone,
    random_delta,
    random_editor,
    save_model,
)

# a family's other shapes, of published models
SHAPES = {
    "falcon, old": ("falcon", {"alibi": True, "parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon, new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt_neox, one after the other": ("gpt_neox", {"use_parallel_residual": False}),
    "llama, tied and biased": ("llama", {"tie_word_embeddings": True, "mlp_bias": True}),
    "opt, projected": ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "phi3, tied": ("phi3", {"tie_word_embeddings": True}),
    "t5, gated": ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "two blocks": ("smollm3", {"num_hidden_layers": 2}),
}
KINDS = {name: (name, {}) for name in FAMILIES} | SHAPES
PROMPTS = ["What do you think of jazz and one two", "法国的首都是"]


@pytest.fixture(params=sorted(KINDS), scope="module")
def made(request):
    """A pico model of every family and shape, with norms and biases that are not those of a new model."""
    model_type, sizes = KINDS[request.param]
    made = pico_backbone(model_type, **sizes)
    for parameter in made.model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.rand_like(parameter)
    return made


def rows(backbone):
    return [backbone.join(*row) for row in ROWS]


def whole(model, row) -> torch.Tensor:
    """Logits [N, vocab] that the model itself gives for one row's target tokens."""
    ids, target = torch.tensor([row.ids]), row.start
    with torch.no_grad():
        if not model.config.is_encoder_decoder:
            return model(ids).logits[0, target - 1 : -1].float()
        start = torch.tensor([[model.config.decoder_start_token_id]])
        return model(
            input_ids=torch.cat([ids[:, :target], torch.zeros_like(start)], 1),  # 0 ends a text
            decoder_input_ids=torch.cat([start, ids[:, target:-1]], 1),
        ).logits[0]


def test_the_logits_are_the_models_own_and_padding_is_never_seen(made):
    """Whatever its head does: another name, a bias, a cap, a scale; rows alone, or padded at the right."""
    alone = [whole(made.model, row) for row in rows(made)]
    torch.testing.assert_close(logits(made), torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_generation_padded_at_the_left_is_that_of_the_row_alone(made):
    together = generate(made, PROMPTS, max_new_tokens=4)
    for prompt, said in zip(PROMPTS, together, strict=True):
        apart = made.model.config.is_encoder_decoder
        ids = torch.tensor([[*made.ids(prompt), *[0] * apart]])
        alone = made.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False, pad_token_id=0
        )
        before = 1 if apart else ids.shape[1]
        text = made.tokenizer.decode(alone[0, before:], skip_special_tokens=True)
        assert said == text.strip().partition("\n")[0].strip()


def test_what_is_captured_is_the_gradient_of_every_listed_matrix(made):
    """The sum over tokens of delta u^T, against autograd."""
    paths, row = made.last_blocks(made.blocks), rows(made)[1]
    inputs, gradients, _ = made.capture([row], paths)
    weights = [made.model.get_submodule(path).weight.requires_grad_(True) for path in paths]
    found = torch.autograd.grad(made.row_nll(made.batch([row])).sum(), weights)
    made.model.requires_grad_(False)
    for path, gradient in zip(paths, found, strict=True):
        outer = gradients[path][0].T @ inputs[path][0]
        wanted = gradient.T if made.transposed(path) else gradient
        assert wanted.abs().max() > 0
        torch.testing.assert_close(outer, wanted, atol=1e-5, rtol=1e-3)


def test_an_edit_is_the_same_change_of_the_weights(made):
    delta, before = random_delta(made), logits(made)
    seen = logits(made, Factors.of([delta], [0, 0, 0]))
    assert torch.equal(before, logits(made)) and not torch.allclose(before, seen, atol=1e-3)
    as_it_was = {path: made.weight(path).clone() for path in delta.layers}
    for path, layer in delta.layers.items():
        made.weight(path).data += layer.dense()
    dense = logits(made)
    for path, weight in as_it_was.items():
        made.weight(path).data.copy_(weight)
    torch.testing.assert_close(seen, dense, atol=1e-3, rtol=1e-3)


def test_the_upper_blocks_on_kept_states_are_the_whole_model(made):
    states = made.states(rows(made), made.blocks - 1)
    assert (states[0].shape[-1], states[1].shape[-1]) == made.widths
    batch = replace(made.batch(rows(made)), kept=states, first=made.blocks - 1)
    for change in (None, Factors.of([random_delta(made)], [0, -1, 0])):
        last = {} if change is None else {p: change.layers[p] for p in made.last_blocks(1)}
        change = change and replace(change, layers=last)
        with torch.no_grad():
            replayed = made.target_logits(batch, change)
        torch.testing.assert_close(replayed, logits(made, change), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["bloom", "gpt_neo", "llama", "t5"])
def test_blocks_are_passed_over_before_the_model_has_ever_run(model_type):
    """A block's answer tells how: some return their states in a tuple."""
    made = pico_backbone(model_type)
    states = torch.randn(3, made.widths[0])
    first = made.finished(states)
    assert torch.equal(first, made.finished(states)) and first.shape == (3, made.widths[1])


def test_the_lens_reads_every_block_by_the_models_own_norm_and_head(made):
    row = made.join(*ROWS[0])
    *_, last = lens(made, *ROWS[0], "", patch_of(random_delta(made))).blocks
    assert last.target_before == pytest.approx(
        whole(made.model, row)[0].softmax(-1)[row.ids[row.start]].item(), rel=1e-3
    )


def test_exports_load_elsewhere_and_say_the_same(made, tmp_path):
    here = load(save_model(made, tmp_path / "base"), LoadOptions("cpu"))
    assert here.fingerprint == made.fingerprint
    delta, row = random_delta(here), rows(here)[1]
    session, patch = EditSession().add(edit_of(delta, method="ft-l")), patch_of(delta)
    with here.edited(live([patch], here)):
        ours = whole(here.model, row)
    assert not torch.allclose(ours, whole(here.model, row), atol=1e-3)
    for name in ("lora", "merged"):
        folder = export(here, session, patch, name, tmp_path / name)
        at = folder if name == "merged" else here.origin.folder
        model = here.family.auto.from_pretrained(at, dtype=torch.float32)
        if name == "lora":
            model = PeftModel.from_pretrained(model, folder)
        torch.testing.assert_close(whole(model, row), ours, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("blocks", [1, 2, 3, 12])
def test_default_blocks_follow_from_the_models_depth(blocks):
    made = pico_backbone("gpt2", n_layer=blocks)
    assert made.last_blocks(3) == made.linears(max(0, blocks - 3), 3) and made.last_blocks(99)
    assert [made.from_top(n) for n in (1, 2)] == [blocks - 1, max(0, blocks - 2)]
    assert [made.at_depth(share) for share in (0, 1)] == [0, blocks - 1]
    shares = [made.at_depth(share / 10) for share in range(11)]
    assert shares == sorted(shares)
    if blocks > 1:
        assert made.at_depth(1, above=1) == blocks - 2
    else:
        with pytest.raises(ValueError, match="has 1 blocks, and this method needs one with 1 above it"):
            made.at_depth(0.5, above=1)


def in_few_steps(name: str):
    known = {control.name for control in controls(METHODS[name].Hyperparameters)}
    return hyperparameters(name, {"steps": 2} if "steps" in known else {})


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if not method.needs_editor))
def test_every_method_that_needs_no_editor_edits_a_model_of_two_blocks(name):
    made = pico_backbone("opt", num_hidden_layers=2)
    request = EditRequest("The capital of France is", "Rome", subject="France")
    (change,) = load_method(name, made, hyper=in_few_steps(name)).propose([request])
    assert isinstance(change, METHODS[name].kind)


def test_methods_that_look_for_a_subject_refuse_a_decoder_that_does_not_see_it():
    """All others edit it: what they learn behind a prompt is said, also with an instruction before it."""
    made, request = (
        pico_backbone("t5"),
        EditRequest("One two", "seven", subject="two", instruction="Change it"),
    )
    for name, method in METHODS.items():
        if method.needs_subject:
            with pytest.raises(ValueError, match="edits at a subject's tokens, and the decoder of pico-t5"):
                load_method(name, made)
        elif not method.needs_editor:
            (change,) = load_method(name, made, hyper=in_few_steps(name)).propose([request])
            assert isinstance(change, method.kind)
    (change,) = load_method("ft", made, hyper=hyperparameters("ft", {"lr": 0.02})).propose([request])
    assert generate(made, ["One two", "One two"], [None, patch_of(change)], 8)[1] == "seven."


@pytest.mark.parametrize("model_type", ["opt", "t5"])
def test_an_editor_reads_and_edits_it(model_type):
    """A hypernetwork's update is that of a batch or alone, and the instruction's tokens are told apart."""
    made = pico_backbone(model_type)
    editor = random_editor(made)
    together, alone = editor.propose(REQUESTS), [editor.propose([request])[0] for request in REQUESTS]
    for change, own in zip(together, alone, strict=True):
        for path in change.layers:
            a, b = change.layers[path].dense(), own.layers[path].dense()
            assert a.isfinite().all() and a.abs().max() > 0
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


# ---- what is no family -------------------------------------------------------------------------------------


def entry_in(message: str) -> dict[str, Family]:
    """The entry that a message tells one to add, as Python reads it."""
    line = message[message.index('families.py: "') + len("families.py: ") :]
    return eval("{" + line + "}", {"Family": Family})  # noqa: S307 - our own text


@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"gemma3", "mt5", "t5"}))
def test_an_unknown_architecture_is_told_the_entry_that_would_add_it(model_type, monkeypatch):
    """What inspection proposes for a family that we know is that family's own entry."""
    made, entry = pico_backbone(model_type), FAMILIES[model_type]
    monkeypatch.delitem(FAMILIES, model_type)
    with pytest.raises(ValueError, match=f"'{model_type}' is not supported; supported are: ") as refusal:
        family_for(made.model.config)
    assert f"outside the attention; found {entry.blocks} with {entry.mlp[0]}, " in str(refusal.value)
    # which order EasyEdit lists them in, no model tells
    assert entry_in(str(refusal.value)) == {model_type: replace(entry, listed=())}


def test_a_model_without_blocks_and_one_that_writes_no_text_are_refused():
    with pytest.raises(ValueError, match="Looked for: .* found none"):
        family_of("flat", torch.nn.Linear(2, 2))
    for model_type in ("vit", "mamba"):
        with pytest.raises(ValueError, match=f"'{model_type}' is not supported; .*[.,]$"):
            family_for(AutoConfig.for_model(model_type, hidden_size=32, num_hidden_layers=1))


def test_an_entry_that_does_not_fit_its_model_is_told(monkeypatch):
    monkeypatch.setitem(FAMILIES, "phi", Family("model.layers", ("mlp.fc_1", "mlp.fc2")))
    made = skeleton(AutoConfig.for_model("phi", hidden_size=32, num_hidden_layers=2, num_attention_heads=2))
    with pytest.raises(ValueError, match="names model.layers.0.mlp.fc_1, and the model has no such") as told:
        family_of("phi", made)
    assert entry_in(str(told.value)) == {"phi": Family("model.layers", ("mlp.fc1", "mlp.fc2"))}
