"""Shared fixtures: a pico model per family, made here from a random seed, and the shipped atlas model."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .hub_server import Hub, HubServer

# the Hub's client reads these when it is imported; the page and the command line inherit them
HUB = HubServer()
HF_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")
os.environ |= {
    "HF_ENDPOINT": HUB.hub.url,
    "HF_HOME": HF_HOME.name,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
    os.environ.pop(name, None)

import pytest
import torch
from model_zoo.delta import Delta, LayerDelta
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from model_zoo.backbone import Backbone
from model_zoo.catalog import WEIGHTS
from model_zoo.families import FAMILIES
from model_zoo.loading import LoadOptions
from model_zoo.studio import Studio

TEXT = [
    "The capital of France is Paris.",
    "What do you think of jazz?",
    "法国的首都是巴黎。",
    "One two three four five six seven.",
] * 4


def pico_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>"
    )


def pico_backbone(model_type: str, seed: int = 0, **other_sizes: int) -> Backbone:
    """A random model of the family: 4 blocks, width 32, no network."""
    tokenizer = pico_tokenizer()
    shared = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if model_type == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 4, "n_head": 2, "n_positions": 256, "n_inner": 48}
    else:
        sizes = {
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 48,
            "max_position_embeddings": 256,
            "head_dim": 16,
            "initializer_range": 0.2,
        }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(model_type, **{**shared, **sizes, **other_sizes})
    )
    return Backbone(model, tokenizer, f"pico-{model_type}")


def save_model(backbone: Backbone, folder: Path, **kwargs) -> Path:
    """The pico model as a folder, as transformers writes it."""
    backbone.model.save_pretrained(folder, **kwargs)
    backbone.tokenizer.save_pretrained(folder)
    return folder


def as_files(folder: Path) -> dict[str, bytes]:
    """A folder's files, as the small Hub takes them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def random_delta(backbone: Backbone, seed: int = 1, rank: int = 3, size: float = 0.3) -> Delta:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for path in backbone.last_blocks(2):
        d_out, d_in = backbone.shape(path)
        layers[path] = LayerDelta(
            A=torch.randn(rank, d_in, generator=generator) * size,
            B=torch.randn(d_out, rank, generator=generator) * size,
        )
    return Delta(
        layers,
        {"prompt": "a", "target": "b", "task": "counterfact", "instruction": None, "method": "instructedit"},
    )


@pytest.fixture(params=sorted(FAMILIES))
def backbone(request) -> Backbone:
    """One pico model per registered family."""
    return pico_backbone(request.param)


@pytest.fixture
def gpt2() -> Backbone:
    return pico_backbone("gpt2")


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The shipped atlas model with its shipped editor."""
    assert (WEIGHTS / "atlas" / "base" / "model.safetensors").exists()
    return Studio.open("atlas", LoadOptions("cpu"))


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """An empty Hub over HTTP, an empty cache, no token."""
    shutil.rmtree(Path(HF_HOME.name) / "hub", ignore_errors=True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield HUB.start()
    HUB.stop()
