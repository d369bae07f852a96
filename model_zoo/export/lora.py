"""The edit as a PEFT LoRA adapter of one uniform rank, zero-padded: the form that serving engines batch best.

W' = W + B A with alpha = r, so the scale is 1. A rank beyond 256 (or a dense change) is cut by SVD and the
error is told. What vLLM and SGLang take of adapters is by their documentation and sources (docs/SCALE.md).
"""

import shlex
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..backbone import Backbone
from ..changes import Delta, LayerDelta
from .base import Format
from .provenance import Provenance

RANKS = (8, 16, 32, 64, 128, 256)  # among those that vLLM takes as --max-lora-rank
SERVED = {"gate_proj", "up_proj", "down_proj"}  # the MLP modules that vLLM and SGLang put adapters on
PREFIX = "base_model.model."
ADAPTER = "adapter_model.safetensors"


def truncated(layer: LayerDelta, rank: int) -> tuple[LayerDelta, float]:
    """The best approximation of at most this rank (Eckart-Young), and its error relative to the change's
    norm.
    """
    if layer.D is None and layer.rank <= rank:
        return layer, 0.0
    u, s, v = _svd(layer)
    kept = min(rank, len(s))
    error = (s[kept:].square().sum() / s.square().sum().clamp(min=1e-30)).sqrt().item()
    return LayerDelta(A=v[:kept].float(), B=(u[:, :kept] * s[:kept]).float()), error


def _svd(layer: LayerDelta) -> tuple[Tensor, Tensor, Tensor]:
    """U [d_out, k], S [k], V [k, d_in]; of a low-rank change through its factors, nothing of size d_out x
    d_in.
    """
    if layer.D is not None:
        return torch.linalg.svd(layer.D.double(), full_matrices=False)
    a, b = layer.factors
    qb, rb = torch.linalg.qr(b.double())
    qa, ra = torch.linalg.qr(a.double().T)
    u, s, v = torch.linalg.svd(rb @ ra.T, full_matrices=False)
    return qb @ u, s, v @ qa.T


def uniform(patch: Delta) -> tuple[dict[str, LayerDelta], int, dict[str, float]]:
    """All layers at one rank of RANKS, zero-padded, and the relative error per cut layer."""
    layers, errors = {}, {}
    for path, layer in patch.layers.items():
        layers[path], error = truncated(layer, RANKS[-1])
        if error:
            errors[path] = error
    rank = next(r for r in RANKS if r >= max(layer.rank for layer in layers.values()))
    return {path: _padded(layer, rank) for path, layer in layers.items()}, rank, errors


def _padded(layer: LayerDelta, rank: int) -> LayerDelta:
    d_out, d_in = layer.shape
    a, b = torch.zeros(rank, d_in), torch.zeros(d_out, rank)
    a[: layer.rank], b[:, : layer.rank] = layer.factors
    return replace(layer, A=a, B=b, K=None)


def write(backbone: Backbone, patch: Delta, provenance: Provenance, folder: Path) -> str:
    from peft import LoraConfig, TaskType

    layers, rank, errors = uniform(patch)
    tensors = {}
    for path, layer in layers.items():
        a, b = layer.factors
        tensors[f"{PREFIX}{path}.lora_A.weight"] = a.contiguous()
        tensors[f"{PREFIX}{path}.lora_B.weight"] = b.contiguous()
    save_file(tensors, folder / ADAPTER, metadata={"format": "pt"})
    LoraConfig(
        task_type=TaskType.SEQ_2_SEQ_LM if backbone.family.encoder_decoder else TaskType.CAUSAL_LM,
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        bias="none",
        target_modules=sorted(layers),
        fan_in_fan_out=any(backbone.transposed(path) for path in layers),
        base_model_name_or_path=provenance.base_loads_from,
        revision=provenance.base_revision,
        inference_mode=True,
    ).save_pretrained(str(folder))
    base = provenance.base_loads_from
    at, adapter = shlex.quote(base), shlex.quote(folder.name)
    notes = (
        f"Rank {rank} on {len(layers)} matrices, alpha {rank} (scale 1). Other engines, by their "
        "documentation (not run here; vLLM's default rank is 16):\n\n"
    )
    served = {path.rpartition(".")[2] for path in layers} <= SERVED
    if served:
        notes += (
            f"    vllm serve {at} --enable-lora --lora-modules edited={adapter} --max-lora-rank {rank}\n"
            f"    python -m sglang.launch_server --model-path {at} --enable-lora --lora-paths "
            f"edited={adapter} --max-lora-rank {rank}\n"
        )
    notes += (
        f"    python convert_lora_to_gguf.py --base {at} {adapter} --outfile edited.gguf  # llama.cpp's\n"
        "    llama-cli -m BASE.gguf --lora edited.gguf\n"
    )
    if not served:
        notes += (
            "\nvLLM and SGLang put no adapters on these matrices, by their sources; serve the merged export "
            "there.\n"
        )
    if backbone.origin and (backbone.origin.repo or base != provenance.base_model):
        notes += (
            f"\n`AutoPeftModelForCausalLM.from_pretrained` finds the base by itself, at `{base}`; where it "
            "has moved, write its new place into `adapter_config.json` (`base_model_name_or_path`).\n"
        )
    if errors:
        worst = max(errors, key=lambda path: errors[path])
        notes += (
            f"\nThe change was cut to rank {RANKS[-1]} by SVD: the largest relative error is "
            f"{errors[worst]:.2%} "
            f"of the change, at `{worst}`.\n"
        )
    return notes


LORA = Format(
    name="lora",
    title="LoRA adapter (PEFT)",
    summary="Small, exact, goes on top of the base model in transformers and peft.",
    library="peft",
    code="from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    'model = AutoModelForCausalLM.from_pretrained("{base}", dtype="float32")\n'
    'model = PeftModel.from_pretrained(model, "{folder}")\n'
    'tokenizer = AutoTokenizer.from_pretrained("{base}")',
    write=write,
    needs_base=True,
)
