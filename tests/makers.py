"""What several tests make: pico models of every family, random changes and editors, edits of sessions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, get_tensor_name_map, quants
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
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
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 4, "num_heads": 2},
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
    "t5": {"decoder_start_token_id": 1},
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


# where llama.cpp calls an architecture otherwise than transformers
_GGUF_NAMES = {"mistral": "llama", "gemma3_text": "gemma3"}


def write_gguf(
    backbone: Backbone,
    path: Path,
    quantised: GGMLQuantizationType | None = None,
    fields: Mapping[str, str | int] | None = None,
    without: str | None = None,
) -> Path:
    """The model and its tokenizer as llama.cpp writes them: float32, or the matrices quantised. `fields` are
    written over or beside the file's own; `without` leaves out one tensor.
    """
    config = backbone.model.config
    name = _GGUF_NAMES.get(config.model_type, config.model_type)
    fields = {"general.architecture": name} | dict(fields or {})
    writer = GGUFWriter(path, str(fields.pop("general.architecture")))
    _add_sizes(writer, backbone)
    if name.startswith("gemma"):
        _add_gemma_tokenizer(writer, config.vocab_size)
    else:
        _add_tokenizer(writer, backbone, str(fields.pop("tokenizer.ggml.model", "gpt2")))
    for key, value in fields.items():
        (writer.add_string if isinstance(value, str) else writer.add_uint16)(key, value)
    for tensor_name, data in _gguf_tensors(backbone, name).items():
        if tensor_name == without:
            continue
        if quantised is not None and data.ndim == 2:
            writer.add_tensor(tensor_name, quants.quantize(data, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(tensor_name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_sizes(writer: GGUFWriter, backbone: Backbone) -> None:
    config = backbone.model.config
    writer.add_name("Pico")
    writer.add_context_length(backbone.max_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    for name in ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon"):
        if hasattr(config, name):
            writer.add_layer_norm_eps(getattr(config, name))
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if not hasattr(config, "rope_parameters"):
        return
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or config.num_kv_heads)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1)))
    writer.add_key_length(head)
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)


def _add_tokenizer(writer: GGUFWriter, backbone: Backbone, kind: str) -> None:
    tokenizer = backbone.tokenizer
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = set(tokenizer.all_special_tokens)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in special else TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)


def _add_gemma_tokenizer(writer: GGUFWriter, size: int) -> None:
    """Gemma's kind of vocabulary, of no use to speak of: bytes and single letters."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    bytewise = [f"<0x{i:02X}>" for i in range(256)]
    letters = [*"▁etaoinsrhldcu", *(chr(0x4E00 + i) for i in range(size))]
    tokens = [*special, *bytewise, *letters][:size]
    kinds = [TokenType.CONTROL] * 4 + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * size
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(size)])
    writer.add_token_types(kinds[:size])
    for token_id, add in enumerate(
        (writer.add_pad_token_id, writer.add_eos_token_id, writer.add_bos_token_id, writer.add_unk_token_id)
    ):
        add(token_id)


def _gguf_tensors(backbone: Backbone, name: str) -> dict[str, np.ndarray]:
    """The weights under llama.cpp's names, in its layouts."""
    config = backbone.model.config
    arch = next(arch for arch, its_name in MODEL_ARCH_NAMES.items() if its_name == name)
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    found = {}
    for key, tensor in backbone.model.state_dict().items():
        if tied and key == "lm_head.weight" or key.endswith("alibi"):
            continue
        data = tensor.float().numpy()
        if arch == MODEL_ARCH.LLAMA and key.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
            halves = data.reshape(heads, 2, -1, data.shape[1])  # a head's two rotary halves: interleaved
            data = halves.swapaxes(1, 2).reshape(data.shape)
        elif name.startswith("gemma") and key.endswith("norm.weight"):
            data = data + 1
        elif name == "bloom" and "query_key_value" in key:
            by_head = data.reshape(
                config.n_head, 3, -1, *data.shape[1:]
            )  # head by head: by query, key, value
            data = by_head.swapaxes(0, 1).reshape(data.shape)
        elif name == "gpt2" and data.ndim == 2 and ".h." in key:
            data = data.T
        own = key.removeprefix("transformer.") if name == "bloom" else key
        found[names.get_name(own, try_suffixes=(".weight", ".bias"))] = np.ascontiguousarray(data)
    return found


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
