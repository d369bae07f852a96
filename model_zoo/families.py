"""Where each architecture keeps its transformer blocks and the MLP linears that editors change.

A family is data. To add one, add an entry; nothing else in the project compares architecture names. All else
(norms, heads, caps on logits, position tables, parallel blocks) is the model's own: it runs unchanged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PretrainedConfig


@dataclass(frozen=True)
class Family:
    """`blocks`: path of the block list; `mlp`: the MLP linears inside one block, in forward order; the last
    one is the projection back into the residual stream. `gated`: the same of its models with gates, where
    only some have them. `encoder_decoder`: the blocks are a decoder's, and an encoder reads the prompt.
    `listed`: the MLP linears in the order of EasyEdit's published settings; empty where it has none.
    """

    blocks: str
    mlp: tuple[str, ...]
    gated: tuple[str, ...] = ()
    encoder_decoder: bool = False
    listed: tuple[str, ...] = ()

    def linears(self, block: int) -> tuple[str, ...]:
        """Module paths of the MLP linears of one block."""
        return tuple(f"{self.blocks}.{block}.{name}" for name in self.mlp)

    @property
    def auto(self) -> type[AutoModelForCausalLM | AutoModelForSeq2SeqLM]:
        """The class that transformers loads its models by."""
        return AutoModelForSeq2SeqLM if self.encoder_decoder else AutoModelForCausalLM


_GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_FUSED = ("mlp.gate_up_proj", "mlp.down_proj")
_LLAMA = Family("model.layers", _GATED)
_LISTED = replace(_LLAMA, listed=_GATED)
_GPT2 = Family("transformer.h", ("mlp.c_fc", "mlp.c_proj"))
_GPTJ = Family("transformer.h", ("mlp.fc_in", "mlp.fc_out"))
_BLOOM = Family("transformer.h", ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"))

_T5 = Family(
    "decoder.block",
    ("layer.2.DenseReluDense.wi", "layer.2.DenseReluDense.wo"),
    ("layer.2.DenseReluDense.wi_0", "layer.2.DenseReluDense.wi_1", "layer.2.DenseReluDense.wo"),
    encoder_decoder=True,
)

# by the `model_type` of a Hugging Face configuration
FAMILIES: dict[str, Family] = {
    "bloom": _BLOOM,
    "codegen": _GPTJ,
    "cohere": _LLAMA,
    "cohere2": _LLAMA,
    "exaone4": _LLAMA,
    "falcon": _BLOOM,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3": Family("model.language_model.layers", _GATED),  # the text part; it may also see pictures
    "gemma3_text": _LLAMA,
    "glm4": Family("model.layers", _FUSED),
    "gpt2": replace(_GPT2, listed=_GPT2.mlp[::-1]),
    "gpt_bigcode": _GPT2,
    "gpt_neo": _GPT2,
    "gpt_neox": Family("gpt_neox.layers", ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")),
    "gptj": _GPTJ,
    "granite": _LLAMA,
    "llama": _LISTED,
    "mistral": _LISTED,
    "mpt": Family("transformer.blocks", ("ffn.up_proj", "ffn.down_proj")),
    "mt5": _T5,
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "olmo3": _LLAMA,
    "opt": Family("model.decoder.layers", ("fc1", "fc2")),
    "phi": Family("model.layers", ("mlp.fc1", "mlp.fc2")),
    "phi3": Family("model.layers", _FUSED),
    "qwen2": _LISTED,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA,
    "stablelm": _LLAMA,
    "starcoder2": Family("model.layers", ("mlp.c_fc", "mlp.c_proj")),
    "t5": _T5,
}


def family_of(model_type: str, model: nn.Module | None = None) -> Family:
    """The family of a Hugging Face `config.model_type`, whose paths `model` has, where one is given.

    ValueError says which types there are, and what the entry is that would add this one, as far as the model
    tells.
    """
    family = FAMILIES.get(model_type)
    modules = dict(model.named_modules()) if model is not None else {}
    if family is None:
        raise ValueError(
            f"The architecture '{model_type}' is not supported; supported are: "
            f"{', '.join(sorted(FAMILIES))}. {_how_to_add(model_type, modules)}"
        )
    if f"{family.blocks}.0.{next(iter(family.gated), '')}" in modules:
        family = replace(family, mlp=family.gated)
    lacking = [path for path in (family.blocks, *family.linears(0)) if path not in modules]
    if modules and lacking:
        raise ValueError(
            f"The entry of '{model_type}' in model_zoo/families.py names {', '.join(lacking)}, and the model "
            f"has no such module. {_how_to_add(model_type, modules)}"
        )
    return family


def family_for(config: PretrainedConfig) -> Family:
    """The family of a configuration, before there is a model. ValueError as of `family_of`."""
    if config.model_type in FAMILIES:
        return FAMILIES[config.model_type]
    try:
        model = skeleton(config)
    except (
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ):  # transformers has no causal LM of that type
        model = None
    return family_of(config.model_type, model)


def skeleton(config: PretrainedConfig) -> nn.Module:
    """The model that a configuration describes, without weights: nothing is allocated."""
    family = FAMILIES.get(config.model_type)
    with torch.device("meta"):
        return (family.auto if family else AutoModelForCausalLM).from_config(config)


def _how_to_add(model_type: str, modules: Mapping[str, nn.Module]) -> str:
    looked_for = "Looked for: a list of blocks, and in its first one linear modules outside the attention"
    if not modules:
        return "Choose a model of one of these, or add an entry to FAMILIES in model_zoo/families.py."
    found = next(_by_inspection(modules), None)
    if found is None:
        return (
            f"{looked_for}; found none, so a family cannot say what to edit. Choose a model of another type."
        )
    mlp = ", ".join(f'"{name}"' for name in found.mlp)
    comma = "," if len(found.mlp) == 1 else ""
    return (
        f"{looked_for}; found {found.blocks} with {', '.join(found.mlp)}. If it is a causal LM and these are "
        "its MLP in forward order, add this line to FAMILIES in model_zoo/families.py: "
        f'"{model_type}": Family("{found.blocks}", ({mlp}{comma})),'
    )


def _by_inspection(modules: Mapping[str, nn.Module]) -> Iterator[Family]:
    """What may be families, the longest list of blocks first."""
    lists = [(path, module) for path, module in modules.items() if isinstance(module, nn.ModuleList)]
    for path, blocks in sorted(lists, key=lambda pair: -len(pair[1])):
        if len(blocks) and (linears := tuple(_linears(blocks[0]))):
            yield Family(path, linears)


def _linears(block: nn.Module) -> Iterator[str]:
    for name, module in block.named_modules():
        weight = getattr(module, "weight", None)
        if "att" not in name and weight is not None and weight.ndim == 2:
            yield name
