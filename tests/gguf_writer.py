"""Pico models as GGUF files, as llama.cpp writes them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, get_tensor_name_map, quants
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES

from model_zoo.backbone import Backbone

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
