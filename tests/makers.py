"""What several tests make: pico models of every family, random changes and editors, edits of sessions."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

from model_zoo.active import Live
from model_zoo.backbone import Backbone
from model_zoo.changes import Change, Delta, LayerDelta
from model_zoo.encoder_decoder import EncoderDecoder
from model_zoo.families import FAMILIES
from model_zoo.methods.editor_folder import EditorConfig
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.hypernetwork_method import HypernetworkMethod
from model_zoo.methods.instructedit import InstructEdit
from model_zoo.methods.reader import Reader
from model_zoo.methods.serac import SCOPE
from model_zoo.request import EditRequest
from model_zoo.session import Edit
from model_zoo.sources import get_source

ATLAS = get_source("atlas")
TEXT = [
    "The capital of France is Paris.",
    "What do you think of jazz?",
    "法国的首都是巴黎。",
    "One two three four five six seven.",
] * 4


def pico_tokenizer(texts: Sequence[str] = TEXT) -> PreTrainedTokenizerFast:
    """Byte-level BPE, its words learnt from the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>"
    )


# what a pico of each family has beside the sizes of all: the habits that its published models have
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "head_dim": 16,
    "initializer_range": 0.2,
}
_GPT2 = {"n_embd": 32, "n_layer": 4, "n_head": 2, "n_positions": 256, "n_inner": 48}
_BLOOM = {"hidden_size": 32, "n_layer": 4, "n_head": 2, "initializer_range": 0.2}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 4, "num_heads": 2} | {"decoder_start_token_id": 1}
OWN_SIZES: dict[str, dict] = {
    "bloom": _BLOOM,
    "codegen": _GPT2 | {"rotary_dim": 8, "n_head": 4},
    "falcon": _BLOOM | {"num_hidden_layers": 4, "num_attention_heads": 2, "ffn_hidden_size": 48},
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 4,
    },
    "gptj": _GPT2 | {"rotary_dim": 8},
    "mpt": {"d_model": 32, "n_heads": 2, "n_layers": 4, "max_seq_len": 256, "expansion_ratio": 2},
    "mt5": _T5,
    "t5": _T5,
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "ffn_dim": 48,
        "max_position_embeddings": 256,
        "word_embed_proj_dim": 32,
    },
}
_FURTHER: dict[str, dict] = {
    "cohere": {"logit_scale": 0.5},
    "cohere2": {"logit_scale": 0.5, "sliding_window": 4},
    "exaone4": {"sliding_window": 4},
    "gemma2": {"final_logit_softcapping": 2.0},  # small enough to matter
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5},
    "stablelm": {"use_parallel_residual": True},
}


def pico_backbone(model_type: str, seed: int = 0, **other_sizes) -> Backbone:
    """A random model of the family: 4 blocks, width 32, no network."""
    tokenizer = pico_tokenizer()
    shared = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    sizes = OWN_SIZES.get(model_type, _SIZES) | _FURTHER.get(model_type, {}) | shared | other_sizes
    if model_type == "gemma3":  # it may also see pictures
        eye = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
        sizes = {"text_config": sizes, "vision_config": eye | {"image_size": 28, "patch_size": 14}}
    torch.manual_seed(seed)
    model = FAMILIES[model_type].auto.from_config(AutoConfig.for_model(model_type, **sizes))
    kind = EncoderDecoder if FAMILIES[model_type].encoder_decoder else Backbone
    return kind(model, tokenizer, f"pico-{model_type}")


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
    return Delta(layers)


REQUESTS = [
    EditRequest("The capital of France is", "Paris"),
    EditRequest("One two", "three four five", "recent", "Count on."),
]


def random_editor(
    backbone: Backbone, seed: int = 0, hyper: HyperConfig | None = None, method=InstructEdit
) -> HypernetworkMethod:
    """An editor with random weights everywhere, so that no term of the update is trivially zero."""
    hyper = hyper or method.default_network.model_copy(update={"rank": 8})
    modules = {path: backbone.shape(path) for path in backbone.last_blocks(2)}
    config = EditorConfig(
        method=method.name,
        instructed=method.reads_instruction,
        base_model=backbone.name,
        modules=modules,
        hyper=hyper,
    )
    torch.manual_seed(seed)
    network = method.new_network(config, backbone)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    editor = method(backbone, config, network)
    network.calibrate([editor.capture([editor.join(r) for r in REQUESTS]).layers])
    return editor


def random_reader(backbone: Backbone, method: type[Reader], seed: int = 0) -> Reader:
    """A method of edits before the prompt with a random adapter; a classifier of scope goes by words."""
    adapter = random_delta(backbone, seed, size=0.1)
    config = EditorConfig(
        method=method.name,
        instructed=False,
        base_model=backbone.name,
        modules={path: layer.shape for path, layer in adapter.layers.items()},
    )
    scope = torch.tensor([4.0, 4.0, 4.0, 0.0, 0.0, 0.0, -6.0])
    return method(backbone, method.Hyperparameters(), config, adapter, {SCOPE: scope})


READS = HyperConfig(rank=8, instruction=6, span=3, joint=True)
WHITE = HyperConfig(rank=8, whitened=0.1)
LEADING = HyperConfig(rank=8, whitened=0.1, whitened_rank=5)
FAR = HyperConfig(rank=8, instruction=6, whitened=0.1, common=2)
FITS = HyperConfig(rank=8, instruction=6, fitted=True)


def whitened_editor(backbone, hyper: HyperConfig = WHITE) -> InstructEdit:
    editor = random_editor(backbone, hyper=hyper)
    roots = {path: torch.randn(shape[1], shape[1]) for path, shape in editor.config.modules.items()}
    editor.network.whiten({path: root @ root.T / len(root) for path, root in roots.items()})
    return editor


def far_editor(backbone) -> InstructEdit:
    editor = whitened_editor(backbone, FAR)
    editor.network.find_common(
        {path: [torch.randn(5, shape[1]) for _ in range(2)] for path, shape in editor.config.modules.items()}
    )
    return editor


ROWS = [
    ("The capital of France is", "Paris"),
    ("What do you think of", "jazz and one two three"),
    ("One", "two"),
]


def logits(backbone: Backbone, live: Live | None = None) -> torch.Tensor:
    with torch.no_grad():
        return backbone.target_logits(backbone.batch([backbone.join(*row) for row in ROWS]), live)


def edit_of(
    change: Change, prompt: str = "a", target: str = "b", method: str = "instructedit", strength: float = 1.0
) -> Edit:
    """A change as the edit of some request."""
    return Edit(EditRequest(prompt, target), method, change, strength)
