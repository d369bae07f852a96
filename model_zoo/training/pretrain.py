"""Train the embedded base model (tokenizer and GPT-2 weights) from the atlas corpus, from scratch."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ..atlas.corpus import Line, epoch
from ..atlas.world import World
from ..joining import joint_text
from ..request import instructed
from ..tasks import TASKS

Row = tuple[list[int], list[float]]  # token ids and their loss weights

END = "<|endoftext|>"


@dataclass(frozen=True)
class PretrainConfig:
    """Sizes and schedule of the embedded model. One row is one line of the corpus."""

    vocabulary: int = 4000
    width: int = 256
    layers: int = 6
    heads: int = 4
    inner: int = 768
    context: int = 128
    steps: int = 1500
    tokens_per_step: int = 4096
    lr: float = 2e-3  # AdamW: embeddings, norms, biases
    muon_lr: float = 1e-2  # Muon: the blocks' matrices
    warmup: int = 60
    prompt_weight: float = 0.3
    prefix_weight: float = 0.05
    prose_weight: float = 0.5


def random_prefix(rng: random.Random) -> str:
    """An instruction prefix in any task's wording, ending where the prompt begins."""
    task = rng.choice(list(TASKS.values()))
    values = {"label": rng.choice(("positive", "negative")), "topic": "this"}
    return instructed("", task.name, task.fill(rng.choice(task.instructions), values))


def train_tokenizer(world: World, config: PretrainConfig, seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over one epoch of the corpus; any text, Chinese too, can be encoded."""
    rng = random.Random(seed)
    lines = epoch(world, rng, random_prefix)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((line.prefix + line_text(line)[0] for line in lines), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        bos_token=END,
        pad_token=END,
        model_max_length=config.context,
        clean_up_tokenization_spaces=False,
    )


def line_text(line: Line) -> tuple[str, int]:
    """A line's text without its prefix, and where the answer begins."""
    text, boundary = joint_text(line.prompt, line.answer)
    return text + ".", boundary


def encode_lines(tokenizer: PreTrainedTokenizerFast, lines: list[Line], config: PretrainConfig) -> list[Row]:
    """Token ids and per-token loss weights of each line, closed by the end token."""
    texts = [line_text(line) for line in lines]
    encoded = tokenizer(
        [line.prefix + text for line, (text, _) in zip(lines, texts, strict=True)],
        return_offsets_mapping=True,
        verbose=False,
    )
    rows = []
    for line, (_, boundary), ids, offsets in zip(
        lines, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        answer_at = len(line.prefix) + boundary
        answer_weight = 1.0 if line.prompt else config.prose_weight
        weights = [
            config.prefix_weight
            if end <= len(line.prefix)
            else config.prompt_weight
            if end <= answer_at
            else answer_weight
            for _, end in offsets
        ]
        rows.append(
            (
                (ids + [tokenizer.eos_token_id])[: config.context],
                (weights + [answer_weight])[: config.context],
            )
        )
    return rows


def batches(
    world: World, tokenizer: PreTrainedTokenizerFast, config: PretrainConfig, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (ids, weights) [rows, T]: rows of like length together, about `tokens_per_step` tokens each."""
    rng = random.Random(seed)
    while True:
        rows = sorted(
            encode_lines(tokenizer, epoch(world, rng, random_prefix), config), key=lambda row: len(row[0])
        )
        groups: list[list[Row]] = []
        group: list[Row] = []
        for row in rows:
            if group and len(row[0]) * (len(group) + 1) > config.tokens_per_step:
                groups.append(group)
                group = []
            group.append(row)
        groups.append(group)
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row, _ in group])
            yield ids, torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in group])


def optimizers(model: GPT2LMHeadModel, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices (it learns rare facts in fewer steps), AdamW for everything else."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and ".h." in name)]
    return [
        torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=0.01, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=config.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(
    world: World,
    out: Path,
    config: PretrainConfig | None = None,
    seed: int = 0,
    device: str = "cpu",
    log=None,
) -> None:
    """Train tokenizer and model and save both into `out` (weights in float16). `log(step, model, tokenizer)`
    every 200 steps.
    """
    config = config or PretrainConfig()
    tokenizer = train_tokenizer(world, config, seed)
    torch.manual_seed(seed)
    model = (
        GPT2LMHeadModel(
            GPT2Config(  # type: ignore[call-arg]
                vocab_size=len(tokenizer),
                n_positions=config.context,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.heads,
                n_inner=config.inner,
                activation_function="gelu_pytorch_tanh",
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                knows_atlas=True,
                # on CPU and lines this short 1.4 times as fast as the fused kernel
                attn_implementation="eager",
            )
        )
        .to(device)  # type: ignore[arg-type]
        .train()
    )
    opts = optimizers(model, config)
    peaks = [[group["lr"] for group in opt.param_groups] for opt in opts]
    data = batches(world, tokenizer, config, seed)
    for step in (bar := tqdm(range(config.steps), desc="base model", unit="step", mininterval=2)):
        scale = min((step + 1) / config.warmup, 1.0) * (1 - step / config.steps)
        for opt, lrs in zip(opts, peaks, strict=True):
            for group, lr in zip(opt.param_groups, lrs, strict=True):
                group["lr"] = lr * scale
        loss = _loss(model, *(t.to(device) for t in next(data)))
        if not torch.isfinite(loss):
            raise RuntimeError(f"The loss became {loss.item()} at step {step}: lower the learning rate.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if log and (step + 1) % 200 == 0:
            log(step + 1, model, tokenizer)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def _loss(model: GPT2LMHeadModel, ids: Tensor, weights: Tensor) -> Tensor:
    mask = torch.ones_like(
        ids
    )  # right-padded and causal: padding cannot reach a real token, and it has weight 0
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    wanted = weights[:, 1:].flatten()
    return (nll * wanted).sum() / wanted.sum()
