"""Base models from folders and from the Hub: what loads, what is refused and how, before anything is
allocated.
"""

import json
from importlib.util import find_spec

import pytest
import torch
from transformers import AutoConfig

from model_zoo import memory
from model_zoo.catalog import CATALOG, load_backbone
from model_zoo.changes import Factors
from model_zoo.families import FAMILIES
from model_zoo.loading import LoadOptions, load
from model_zoo.studio import Studio

from .conftest import HUB
from .makers import as_files, logits, pico_backbone, random_delta, save_model

CPU = LoadOptions("cpu")


def test_a_folder_and_a_hub_repo_give_the_same_model(hub, tmp_path):
    made = pico_backbone("llama")
    commit = hub.add("someone/pico", as_files(save_model(made, tmp_path / "m")))
    said = []
    here, there = load(tmp_path / "m", CPU), load("someone/pico", CPU, progress=said.append)
    assert torch.equal(logits(here), logits(made)) and torch.equal(logits(there), logits(made))
    assert here.fingerprint == there.fingerprint == made.fingerprint
    assert (there.origin.repo, there.origin.commit) == ("someone/pico", commit) and here.origin.commit is None
    assert any(text.startswith("Downloading someone/pico") for text in said) and said[-1].startswith(
        "Loading"
    )


def test_cached_and_pinned_loads_with_no_request_and_without_a_network(hub, tmp_path):
    commit = hub.add("someone/pico", as_files(save_model(pico_backbone("gpt2"), tmp_path / "m")))
    load("someone/pico", CPU)
    hub.requests.clear()
    load(f"someone/pico@{commit}", CPU)
    assert hub.requests == []
    HUB.stop()
    assert load("someone/pico", CPU).origin.commit == commit


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_the_fingerprint_is_of_the_stored_weights_whatever_dtype_they_run_in(tmp_path, stored):
    made = pico_backbone("gpt2")
    made.model.to(stored)
    folder = save_model(made, tmp_path)
    prints = {
        load(folder, LoadOptions("cpu", dtype)).fingerprint for dtype in ("auto", "fp32", "bf16", "fp16")
    }
    assert len(prints) == 1
    assert prints != {pico_backbone("gpt2", seed=5).fingerprint}


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_memory_is_reckoned_from_the_configuration_alone(model_type):
    made = pico_backbone(model_type)
    assert memory.parameter_count(made.model.config) == sum(p.numel() for p in made.model.parameters())


def test_what_will_not_fit_is_refused_with_numbers(tmp_path):
    sizes = {
        "hidden_size": 16384,
        "num_hidden_layers": 126,
        "intermediate_size": 53248,
        "num_attention_heads": 128,
    }
    config = AutoConfig.for_model("llama", vocab_size=128256, **sizes)
    config.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"needs about [\d.]+ GB .* billion weights in float32.* but cpu has [\d.]+ (GB|MB) free",
    ):
        load(tmp_path, CPU)


def test_weights_that_are_only_there_as_pickles_are_refused(hub, tmp_path):
    folder = save_model(pico_backbone("gpt2"), tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="never from pickles"):
        load(folder, CPU)
    hub.add("someone/pickled", as_files(folder))
    with pytest.raises(ValueError, match="never from pickles"):
        load("someone/pickled", CPU)
    assert not any("pytorch_model.bin" in request for request in hub.requests)


def test_models_that_want_their_own_code_and_unknown_architectures_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "mystery", "auto_map": {"AutoConfig": "evil.Config"}})
    )
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match="architecture 'mystery' is not supported"):
        load(tmp_path, CPU)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="architecture 'bert' is not supported"):
        load(tmp_path, CPU)


def test_a_truncated_weight_file_is_a_sentence(tmp_path):
    folder = save_model(pico_backbone("gpt2"), tmp_path)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="No model could be loaded"):
        load(folder, CPU)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "use auto, cpu or cuda"),
        ({"dtype": "int4"}, "'int4' is unknown"),
        ({"quantize": "2bit"}, "'2bit' is unknown"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        LoadOptions(**options)


def test_an_absent_folder_and_an_empty_one(hub, tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        load(tmp_path / "none", CPU)
    with pytest.raises(ValueError, match="There is no folder with a model"):
        load(tmp_path, CPU)


def test_loading_can_be_stopped_and_leaves_nothing_behind(hub, tmp_path):
    hub.add("someone/pico", as_files(save_model(pico_backbone("gpt2"), tmp_path)))

    class Stop(Exception):
        pass

    def say(text):
        if text.startswith("Loading"):
            raise Stop

    with pytest.raises(Stop):
        load_backbone("someone/pico", CPU, say)
    assert load_backbone("someone/pico", CPU).name == "someone/pico"


def test_a_model_spread_by_accelerate_edits_the_same(tmp_path):
    """device_map="auto" spreads over GPUs; here the same hooks move everything through one CPU."""
    from accelerate import dispatch_model

    folder = save_model(pico_backbone("llama"), tmp_path)
    plain, spread = load(folder, CPU), load(folder, CPU)
    parts = ("model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb", "lm_head")
    dispatch_model(spread.model, dict.fromkeys(parts, "cpu"), force_hooks=True)
    factors = Factors.of([random_delta(plain)], [0, 0, 0])
    assert torch.equal(logits(plain, factors), logits(spread, factors))


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_a_quantised_base_is_edited(tmp_path, quantize):
    folder = save_model(
        pico_backbone("llama", hidden_size=64, intermediate_size=128, head_dim=32), tmp_path
    )  # 4-bit blocks are 64 wide
    studio = Studio.open(str(folder), LoadOptions("cpu", quantize=quantize))
    report, _ = studio.edit(studio.request("counterfact", "One two three", "four"), "ft-l")
    assert report.target_probability["after"] > report.target_probability["before"]
    assert all(change.relative > 0 for change in report.changed)


def test_the_catalogue_says_what_a_person_needs_to_choose():
    for entry in CATALOG.values():
        assert entry.parameters and entry.licence and "GB" in entry.about
    assert [entry.name for entry in CATALOG.values() if entry.editors] == ["atlas", "smollm2"] and next(
        iter(CATALOG)
    ) == "atlas"
