"""Where each architecture keeps its transformer blocks and the MLP linears that editors change.

A family is data. To add one, add an entry; nothing else in the project compares architecture names.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Family:
    """`blocks`: path of the block list; `mlp`: the MLP linears inside one block, in forward order; the last
    one is the projection back into the residual stream. `norm`: the layer norm behind the last block.
    `listed`: the MLP linears in the order of EasyEdit's published settings; empty where it has none.
    """

    blocks: str
    mlp: tuple[str, ...]
    norm: str
    listed: tuple[str, ...] = ()

    def linears(self, block: int) -> tuple[str, ...]:
        """Module paths of the MLP linears of one block."""
        return tuple(f"{self.blocks}.{block}.{name}" for name in self.mlp)


_LLAMA = Family("model.layers", ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), "model.norm")
_LISTED = replace(_LLAMA, listed=_LLAMA.mlp)

FAMILIES: dict[str, Family] = {
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gpt2": Family(
        "transformer.h", ("mlp.c_fc", "mlp.c_proj"), "transformer.ln_f", listed=("mlp.c_proj", "mlp.c_fc")
    ),
    "llama": _LISTED,
    "mistral": _LISTED,
    "qwen2": _LISTED,
    "qwen3": _LLAMA,
}


def family_of(model_type: str) -> Family:
    """The family of a Hugging Face `config.model_type`.

    Raises ValueError naming the supported types when there is none.
    """
    if model_type not in FAMILIES:
        raise ValueError(
            f"The architecture '{model_type}' is not supported; supported are: "
            f"{', '.join(sorted(FAMILIES))}. "
            "Choose a model of one of these, or add an entry to model_zoo/families.py."
        )
    return FAMILIES[model_type]
