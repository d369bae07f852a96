"""Every family that is registered, by what an edit needs of it; random pico models, nothing is fetched.

Models that are read from GGUF files: tests/test_gguf.py.
"""

from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM

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

from .makers import ROWS, edit_of, logits, pico_backbone, random_delta, save_model

# a family's other shapes, of published models
SHAPES = {
    "falcon, old": ("falcon", {"alibi": True, "parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon, new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt_neox, one after the other": ("gpt_neox", {"use_parallel_residual": False}),
    "llama, tied and biased": ("llama", {"tie_word_embeddings": True, "mlp_bias": True}),
    "opt, projected": ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "phi3, tied": ("phi3", {"tie_word_embeddings": True}),
    "two blocks": ("smollm3", {"num_hidden_layers": 2}),
}
KINDS = {name: (name, {}) for name in FAMILIES} | SHAPES
PROMPTS = ["What do you think of jazz and one two", "One", "法国的首都是"]


@pytest.fixture(params=sorted(KINDS))
def made(request):
    """A pico model of every family and shape."""
    model_type, sizes = KINDS[request.param]
    return pico_backbone(model_type, **sizes)


def rows(backbone):
    return [backbone.join(*row) for row in ROWS]


def whole(model, ids) -> torch.Tensor:
    """Logits [T, vocab] as the model itself gives them for one row of tokens."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def test_the_logits_are_the_models_own_and_padding_is_never_seen(made):
    """Whatever its head does: another name, a bias, a cap, a scale; rows alone, or padded at the right."""
    alone = [whole(made.model, row.ids)[row.start - 1 : -1] for row in rows(made)]
    torch.testing.assert_close(logits(made), torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_generation_padded_at_the_left_is_that_of_the_row_alone(made):
    together = generate(made, PROMPTS, max_new_tokens=5)
    for prompt, said in zip(PROMPTS, together, strict=True):
        ids = torch.tensor([made.ids(prompt)])
        alone = made.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, pad_token_id=0
        )
        text = made.tokenizer.decode(alone[0, ids.shape[1] :], skip_special_tokens=True)
        assert said == text.strip().partition("\n")[0].strip()


def test_what_is_captured_is_the_gradient_of_every_listed_matrix(made):
    """The sum over tokens of delta u^T, against autograd."""
    paths, row = made.last_blocks(made.blocks), rows(made)[1]
    inputs, gradients, _ = made.capture([row], paths)
    weights = [made.model.get_submodule(path).weight.requires_grad_(True) for path in paths]
    found = torch.autograd.grad(made.row_nll(made.batch([row])).sum(), weights)
    for path, gradient in zip(paths, found, strict=True):
        outer = gradients[path][0].T @ inputs[path][0]
        wanted = gradient.T if made.transposed(path) else gradient
        assert wanted.abs().max() > 0
        torch.testing.assert_close(outer, wanted, atol=1e-5, rtol=1e-3)


def test_an_edit_is_the_same_change_of_the_weights(made):
    delta, before = random_delta(made), logits(made)
    seen = logits(made, Factors.of([delta], [0, 0, 0]))
    assert torch.equal(before, logits(made)) and not torch.allclose(before, seen, atol=1e-3)
    for path, layer in delta.layers.items():
        made.weight(path).data += layer.dense()
    torch.testing.assert_close(seen, logits(made), atol=1e-3, rtol=1e-3)


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


def test_blocks_are_passed_over_before_the_model_has_ever_run(made):
    """A block's answer tells how: some return their states in a tuple."""
    states = torch.randn(3, made.widths[0])
    first = made.finished(states)
    assert torch.equal(first, made.finished(states)) and first.shape == (3, made.widths[1])


def test_the_lens_reads_every_block_by_the_models_own_norm_and_head(made):
    row = made.join(*ROWS[0])
    *_, last = lens(made, *ROWS[0], "", patch_of(random_delta(made))).blocks
    assert last.target_before == pytest.approx(
        whole(made.model, row.ids[: row.start])[-1].softmax(-1)[row.ids[row.start]].item(), rel=1e-3
    )


def test_exports_load_elsewhere_and_say_the_same(made, tmp_path):
    here = load(save_model(made, tmp_path / "base"), LoadOptions("cpu"))
    assert here.fingerprint == made.fingerprint
    delta, ids = random_delta(here), here.ids(PROMPTS[0])
    session, patch = EditSession().add(edit_of(delta, method="ft-l")), patch_of(delta)
    with here.edited(live([patch], here)):
        ours = whole(here.model, ids)
    assert not torch.allclose(ours, whole(here.model, ids), atol=1e-3)
    for name in ("lora", "merged"):
        folder = export(here, session, patch, name, tmp_path / name)
        at = folder if name == "merged" else here.origin.folder
        model = AutoModelForCausalLM.from_pretrained(at, dtype=torch.float32)
        if name == "lora":
            model = PeftModel.from_pretrained(model, folder)
        torch.testing.assert_close(whole(model, ids), ours, atol=1e-3, rtol=1e-3)


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


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if not method.needs_editor))
def test_every_method_that_needs_no_editor_edits_a_model_of_two_blocks(name):
    made = pico_backbone("opt", num_hidden_layers=2)
    known = {control.name for control in controls(METHODS[name].Hyperparameters)}
    method = load_method(name, made, hyper=hyperparameters(name, {"steps": 2} if "steps" in known else {}))
    (change,) = method.propose([EditRequest("The capital of France is", "Rome", subject="France")])
    assert isinstance(change, METHODS[name].kind)


# ---- what is no family -------------------------------------------------------------------------------------


def entry_in(message: str) -> dict[str, Family]:
    """The entry that a message tells one to add, as Python reads it."""
    line = message[message.index('families.py: "') + len("families.py: ") :]
    return eval("{" + line + "}", {"Family": Family})  # noqa: S307 - our own text


@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"gemma3"}))
def test_an_unknown_architecture_is_told_the_entry_that_would_add_it(model_type, monkeypatch):
    """What inspection proposes for a family that we know is that family's own entry."""
    made, entry = pico_backbone(model_type), FAMILIES[model_type]
    monkeypatch.delitem(FAMILIES, model_type)
    with pytest.raises(ValueError, match=f"'{model_type}' is not supported; supported are: ") as refusal:
        family_for(made.model.config)
    assert f"outside the attention; found {entry.blocks} with {entry.mlp[0]}, " in str(refusal.value)
    assert entry_in(str(refusal.value)) == {model_type: entry}


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
