"""Edits taken home: what PEFT and transformers load says what we say, and the files say what they are."""

import json
import os
import subprocess
import sys

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from model_zoo.changes import Delta, LayerDelta, Patch, live, patch_of
from model_zoo.checkpoints import Checkpoint
from model_zoo.cli import main
from model_zoo.export import FORMATS, export
from model_zoo.export.lora import RANKS, uniform
from model_zoo.loading import LoadOptions, load
from model_zoo.session import EditSession
from model_zoo.studio import Studio

from .makers import edit_of, pico_backbone, random_delta, save_model

PROMPTS = ["The capital of France is", "What do you think of jazz?"]
EDITS = (
    ("The capital of France is", "Rome"),
    ("The capital of Japan is", "Cairo"),
    ("The capital of Peru is", "Oslo"),
)


def logits(model, tokenizer, prompts=PROMPTS) -> torch.Tensor:
    """Float32 logits [tokens, vocab] of every prompt, one after the other."""
    with torch.no_grad():
        return torch.cat(
            [model(tokenizer(p, return_tensors="pt").input_ids).logits[0] for p in prompts]
        ).float()


def ours(backbone, patch) -> torch.Tensor:
    with backbone.edited(live([patch], backbone)):
        return logits(backbone.model, backbone.tokenizer)


def stacked(backbone, n: int = 3) -> EditSession:
    session = EditSession()
    for i in range(n):
        delta = random_delta(backbone, seed=i, size=0.2)
        session = session.add(edit_of(delta, f"prompt {i}", method="ft-l"))
    return session


def summed(session: EditSession) -> Patch:
    return Patch.of([edit.change for edit in session.active])


@pytest.fixture(params=["gpt2", "llama", "atlas"])
def edited(request, tmp_path, studio):
    """(backbone, session of three edits, their patch); the pico models in a folder of their own, llama's in
    several shards.
    """
    if request.param == "atlas":
        session = EditSession()
        for prompt, target in EDITS:
            session = session.add(
                studio.propose(studio.request("counterfact", prompt, target), "instructedit")[0]
            )
        return studio.backbone, session, studio.patch(session)
    made = pico_backbone(request.param)
    folder = save_model(made, tmp_path / "base", max_shard_size="20kB" if request.param == "llama" else "5GB")
    backbone = load(folder, LoadOptions("cpu"))
    session = stacked(backbone)
    return backbone, session, summed(session)


def test_peft_loads_the_adapter_and_says_what_we_say(edited, tmp_path, recwarn):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, "lora", tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(backbone.origin.folder, dtype=torch.float32)
    plain = logits(base, backbone.tokenizer)
    model = PeftModel.from_pretrained(base, folder)
    assert not [w for w in recwarn if "missing" in str(w.message).lower()]
    said = logits(model, backbone.tokenizer)
    assert (said - ours(backbone, patch)).abs().max() < 1e-5 < (said - plain).abs().max()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["r"] in RANKS and config["rank_pattern"] == {} and config["lora_alpha"] == config["r"]


def test_auto_peft_finds_the_base_that_goes_along(edited, tmp_path, monkeypatch):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, "lora", tmp_path / "out", with_base=True)
    monkeypatch.chdir("/")
    model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    assert (logits(model, tokenizer) - ours(backbone, patch)).abs().max() < 1e-5
    assert f"finds the base by itself, at `{folder / 'base'}`" in (folder / "README.md").read_text()
    without = export(backbone, session, patch, "lora", tmp_path / "small")
    assert not (without / "base").exists() and "by itself" not in (without / "README.md").read_text()


def test_an_adapter_as_the_model_says_what_it_is(edited, tmp_path):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, "lora", tmp_path / "out", with_base=True)
    base = folder / "base"
    with pytest.raises(ValueError, match=f"LoRA adapter .* with --model {base} .* with --from {folder}"):
        load(folder, LoadOptions("cpu"))
    (folder / "provenance.json").unlink()
    with pytest.raises(ValueError, match="merge it into its base .* with peft's merge_and_unload first"):
        load(folder, LoadOptions("cpu"))


def test_the_merged_model_says_what_we_say(edited, tmp_path):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, "merged", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert (logits(model, backbone.tokenizer) - ours(backbone, patch)).abs().max() < 1e-5
    source, target = Checkpoint(backbone.origin.folder).files, Checkpoint(folder).files
    assert source.keys() == target.keys()
    assert [p.name for p in source.values()] == [p.name for p in target.values()]


def test_the_delta_comes_back_as_it_was(edited, tmp_path):
    backbone, session, patch = edited
    back = Delta.load(export(backbone, session, patch, "delta", tmp_path / "out") / "delta.safetensors")
    assert all(
        torch.equal(back.layers[path].dense(), layer.dense()) for path, layer in patch.delta.layers.items()
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_export_carries_its_provenance(edited, tmp_path, name):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, name, tmp_path / "out")
    data = json.loads((folder / "provenance.json").read_text())
    assert data["base_fingerprint"] == backbone.fingerprint and data["format"] == name
    assert [e["prompt"] for e in data["edits"]] == [e.request.prompt for e in session.active]
    assert {"target", "instruction", "method", "strength"} <= set(data["edits"][0])
    card = (folder / "README.md").read_text()
    assert (
        "edited-model" in card
        and "not the original model" in card
        and session.edits[0].request.prompt in card
    )


def test_a_dense_or_a_high_rank_change_is_cut_and_the_card_says_by_how_much(tmp_path):
    backbone = load(
        save_model(
            pico_backbone("llama", hidden_size=288, intermediate_size=320, head_dim=144), tmp_path / "base"
        ),
        LoadOptions("cpu"),
    )
    path = backbone.last_blocks(1)[0]
    d_out, d_in = backbone.shape(path)
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(d_out, d_in, generator=generator)
    low = LayerDelta(
        A=torch.randn(300, d_in, generator=generator), B=torch.randn(d_out, 300, generator=generator)
    )
    for layer in (LayerDelta(D=dense), low):
        patch = Delta({path: layer})
        layers, rank, errors = uniform(patch)
        s = torch.linalg.svdvals(layer.dense().double())
        wanted = (s[256:].square().sum() / s.square().sum()).sqrt().item()
        found = ((layers[path].dense() - layer.dense()).norm() / layer.dense().norm()).item()
        assert (
            rank == 256
            and errors[path] == pytest.approx(wanted, rel=1e-4)
            and found == pytest.approx(wanted, rel=1e-3)
        )
        folder = export(
            backbone, EditSession().add(edit_of(patch)), patch_of(patch), "lora", tmp_path / "out"
        )
        assert (
            f"cut to rank 256 by SVD: the largest relative error is {wanted:.2%}"
            in (folder / "README.md").read_text()
        )


def test_nothing_is_overwritten_and_nothing_to_export_is_said(edited, tmp_path):
    backbone, session, patch = edited
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="is not empty and holds no earlier export"):
        export(backbone, session, patch, "lora", tmp_path / "mine")
    with pytest.raises(ValueError, match="No edit is on"):
        export(backbone, session, None, "lora", tmp_path / "out")
    with pytest.raises(ValueError, match="the formats are: delta, lora, merged"):
        export(backbone, session, patch, "gguf", tmp_path / "out")
    export(backbone, session, patch, "lora", tmp_path / "out")
    export(backbone, session, patch, "delta", tmp_path / "out")  # a later export takes an earlier one's place
    assert not (tmp_path / "out" / "adapter_config.json").exists()


def test_the_base_model_is_never_written_over(tmp_path, studio):
    delta, _ = studio.propose(
        studio.request("counterfact", "The capital of France is", "Rome"), "instructedit"
    )
    session = EditSession().add(delta)
    first = export(studio.backbone, session, studio.patch(session), "merged", tmp_path / "model")
    edited = load(first, LoadOptions("cpu", "fp32"))
    for folder in (first, tmp_path):
        with pytest.raises(ValueError, match="holds the base model itself|is not empty"):
            export(edited, session, studio.patch(session), "merged", folder)
    assert (first / "model.safetensors").exists()


def test_an_export_that_fails_leaves_the_earlier_one(edited, tmp_path):
    backbone, session, patch = edited
    export(backbone, session, patch, "delta", tmp_path / "out")
    wrong = patch_of(Delta({"no.such.module": next(iter(patch.delta.layers.values()))}))
    with pytest.raises((ValueError, AttributeError)):
        export(backbone, session, wrong, "merged", tmp_path / "out")
    assert (tmp_path / "out" / "delta.safetensors").exists() and [
        p.name for p in tmp_path.iterdir() if p.name.startswith(".")
    ] == []


def test_a_model_made_in_memory_cannot_be_merged(tmp_path):
    backbone = pico_backbone("gpt2")
    session = stacked(backbone)
    with pytest.raises(ValueError, match="made in memory"):
        export(backbone, session, summed(session), "merged", tmp_path / "out")


def test_the_command_line_exports_a_merged_model_that_edits_on(tmp_path):
    edit = ["--prompt", "The capital of France is", "--target", "Rome"]
    assert main(["edit", *edit, "--export", str(tmp_path / "out"), "--format", "merged"]) == 0
    edited = Studio.open(str(tmp_path / "out"), LoadOptions("cpu", "fp32"))
    assert edited.pairs(["The capital of France is"], None)[0][0].startswith("Rome")


def test_a_merged_chat_model_chats_and_stops_as_its_base_does(tmp_path):
    made = pico_backbone("llama")
    folder = save_model(made, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}:"
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=[1, 2], max_new_tokens=7).save_pretrained(folder)
    backbone = load(folder, LoadOptions("cpu"))
    session = stacked(backbone, 1)
    out = export(backbone, session, summed(session), "merged", tmp_path / "out")
    turn = [{"role": "user", "content": "Hello"}]
    theirs, own = (AutoTokenizer.from_pretrained(path) for path in (folder, out))
    told = own.apply_chat_template(turn, tokenize=False)
    assert told == theirs.apply_chat_template(turn, tokenize=False) == "<user>Hello:"
    assert own.all_special_tokens == theirs.all_special_tokens
    assert GenerationConfig.from_pretrained(out).eos_token_id == [1, 2]


def test_the_cards_give_the_commands_of_other_engines(edited, tmp_path):
    backbone, session, patch = edited
    folder = export(backbone, session, patch, "lora", tmp_path / "out")
    rank = json.loads((folder / "adapter_config.json").read_text())["r"]
    card = (folder / "README.md").read_text()
    served = backbone.family.mlp[-1] == "mlp.down_proj"  # neither server puts adapters on GPT-2's matrices
    for engine in ("vllm serve", "python -m sglang.launch_server"):
        lines = [line for line in card.splitlines() if engine in line]
        assert len(lines) == served
        assert all("edited=out" in line and f"--max-lora-rank {rank}" in line for line in lines)
    assert ("serve the merged export" in card) != served
    assert "convert_lora_to_gguf.py" in card and rank in (8, 16, 32, 64, 128, 256)  # those that vLLM takes
    whole = (export(backbone, session, patch, "merged", tmp_path / "whole") / "README.md").read_text()
    for command in ("vllm serve whole", "--model-path whole", "convert_hf_to_gguf.py whole"):
        assert command in whole


TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {rows}}}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: right
metric_list: [{{metric: acc}}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["merged", "lora"])
def test_the_harness_asks_an_export(name, tmp_path):
    """lm-evaluation-harness, on a task of our own: the edited fact, and one beside it."""
    pytest.importorskip("lm_eval", reason="needs lm_eval (pip install lm_eval)")
    command = ["edit", "--prompt", PROMPTS[0], "--target", "Rome", "--format", name]
    assert main([*command, "--export", str(tmp_path / "out")]) == 0
    rows = [
        {"prompt": f"The capital of {of} is", "choices": ["Paris", "Rome", "Madrid"], "right": right}
        for of, right in (("France", 1), ("Spain", 2))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "capitals.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    out, made = tmp_path / "out", f"pretrained={tmp_path / 'out'}"
    if name == "lora":
        base = json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]
        made = f"pretrained={out / base},peft={out}"
    asked = ["--tasks", "capitals", "--include_path", str(tmp_path), "--output_path", str(tmp_path / "found")]
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", made, "--device", "cpu", *asked],
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    (found,) = (tmp_path / "found").rglob("results_*.json")
    assert json.loads(found.read_text())["results"]["capitals"]["acc,none"] == 1
