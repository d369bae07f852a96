"""What a model says, and how likely it is to say it: several rows at once, each under its own patch.

The thread enters `edited()` and `no_grad()` and runs the whole generation; whoever reads only reads a queue.
(A generator that yields inside those contexts would lose the edit after its first yield, silently.)
"""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from .active import Live
from .backbone import Backbone
from .changes import Patches, live
from .joining import Joined, decoded

MAX_NEW_TOKENS = 32
AHEAD = 2  # tokens that are made before somebody reads them

# Asked at every token: whether nobody waits any more for what this thread generates.
GIVEN_UP: contextvars.ContextVar[Callable[[], bool]] = contextvars.ContextVar(
    "given_up", default=lambda: False
)


class GivenUp(Exception):
    """A generation ended before its end, because GIVEN_UP said so."""


def finished(text: str) -> bool:
    """Whether a continuation has reached its first line break (an answer is one line)."""
    return "\n" in text.lstrip()


def first_line(text: str) -> str:
    """A continuation cut at its first line break, stripped."""
    return text.strip().partition("\n")[0].strip()


class _LineStop(StoppingCriteria):
    """Ends a row at its first line break after some text, and every row when `stopped` says so."""

    def __init__(self, backbone: Backbone, prompt_length: int, stopped: Callable[[], bool]):
        self.backbone, self.prompt_length, self.stopped = backbone, prompt_length, stopped

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs) -> Tensor:
        if self.stopped():
            return torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
        texts = decoded(self.backbone.tokenizer, input_ids[:, self.prompt_length :])
        return torch.tensor([finished(text) for text in texts], device=input_ids.device)


class _Collector(BaseStreamer):
    """Hands each step's continuations (list of str, one per row) to `emit`."""

    def __init__(self, backbone: Backbone, emit):
        self.backbone, self.emit = backbone, emit
        self.steps: list[Tensor] | None = None

    def put(self, value: Tensor) -> None:
        if self.steps is None:  # the first call carries the prompts
            self.steps = []
            return
        self.steps.append(value.reshape(-1))
        texts = decoded(self.backbone.tokenizer, torch.stack(self.steps, dim=1))
        # a multi-byte character is shown once its last byte has come
        self.emit([first_line(text.rstrip("\ufffd")) for text in texts])

    def end(self) -> None:
        pass


def _greedy(backbone: Backbone, max_new_tokens: int) -> GenerationConfig:
    """Plain greedy decoding: a checkpoint's own penalties would make the text disagree with the model's
    probabilities.
    """
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=backbone.ends,
        pad_token_id=backbone.pad_id,
    )


def _put(prompts: Sequence[str], seen: Live | None) -> Sequence[str]:
    """What is put to the model: a patch may rewrite the prompt."""
    return prompts if seen is None else seen.prompts(prompts)


def joined(
    backbone: Backbone, prompts: Sequence[str], targets: Sequence[str], seen: Live | None
) -> list[Joined]:
    """Prompts and targets as rows of tokens, each prompt as the row's patch rewrites it."""
    return [backbone.join(*pair) for pair in zip(_put(prompts, seen), targets, strict=True)]


@torch.no_grad()
def _nll(
    backbone: Backbone, prompts: Sequence[str], answers: Sequence[str], patches: Patches | None
) -> tuple[Tensor, Tensor]:
    """Mean NLL in nats of each answer's tokens [rows], and how many there are."""
    seen = live(patches, backbone)
    batch = backbone.batch(joined(backbone, prompts, answers, seen))
    return backbone.row_nll(batch, seen), batch.predicting.sum(1)


def probabilities(
    backbone: Backbone, prompts: Sequence[str], targets: Sequence[str], patches: Patches | None = None
) -> list[float]:
    """Probability of each whole target behind its prompt (product over its tokens); row i sees patches[i]."""
    nll, tokens = _nll(backbone, prompts, targets, patches)
    return (-nll * tokens).exp().tolist()


def mean_nll(
    backbone: Backbone, prompts: Sequence[str], answers: Sequence[str], patches: Patches | None = None
) -> list[float]:
    """Mean NLL in nats per token of each answer behind its prompt; row i sees patches[i]."""
    return _nll(backbone, prompts, answers, patches)[0].tolist()


@torch.no_grad()
def predictions(
    backbone: Backbone, pairs: Sequence[tuple[str, str]], patches: Patches | None = None
) -> list[tuple[Tensor, Tensor]]:
    """(argmax tokens, answer tokens) per (prompt, answer), on the CPU; row i sees patches[i]."""
    seen = live(patches, backbone)
    prompts, answers = zip(*pairs, strict=True)
    batch = backbone.batch(joined(backbone, prompts, answers, seen))
    predicted = backbone.target_logits(batch, seen).argmax(-1).cpu()
    sizes = batch.predicting.sum(1).tolist()
    return list(zip(predicted.split(sizes), batch.targets.cpu().split(sizes), strict=True))


class Answered(NamedTuple):
    """An answer behind its prompt: its likelihood per token (geometric mean), and whether the model says it:
    each of its tokens is the likeliest one.
    """

    likelihood: float
    said: bool


@torch.no_grad()
def answered(
    backbone: Backbone, pairs: Sequence[tuple[str, str]], patches: Patches | None = None
) -> list[Answered]:
    """How likely each (prompt, answer) is, in one forward pass; row i sees patches[i]."""
    seen = live(patches, backbone)
    prompts, answers = zip(*pairs, strict=True)
    batch = backbone.batch(joined(backbone, prompts, answers, seen))
    logits, sizes = backbone.target_logits(batch, seen), batch.predicting.sum(1).tolist()
    nll = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none").cpu()
    right = (logits.argmax(-1) == batch.targets).cpu()
    parts = zip(nll.split(sizes), right.split(sizes), strict=True)
    return [Answered((-losses.mean()).exp().item(), bool(hits.all())) for losses, hits in parts]


@torch.no_grad()
def divergences(
    backbone: Backbone, pairs: Sequence[tuple[str, str]], patches: Patches | None = None
) -> list[float]:
    """KL(base || patched) in nats per token along each (prompt, continuation); row i sees patches[i]."""
    seen = live(patches, backbone)
    prompts, texts = zip(*pairs, strict=True)
    own, moved = (backbone.batch(joined(backbone, prompts, texts, s)) for s in (None, seen))
    p, q = (backbone.target_logits(batch, s).log_softmax(-1) for batch, s in ((own, None), (moved, seen)))
    per_token = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1).cpu()
    return [kl.mean().item() for kl in per_token.split(own.predicting.sum(1).tolist())]


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompts: Sequence[str],
    patches: Patches | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    streamer: BaseStreamer | None = None,
) -> list[str]:
    """Greedy continuations, one per prompt, each cut at its first line break and stripped.

    Row i sees patches[i], None being the base model; without patches all rows do. Prompts too long for the
    model are a ValueError. GivenUp where nobody waits for the texts any more.
    """
    seen, given_up = live(patches, backbone), GIVEN_UP.get()
    rows = [backbone.ids(prompt) for prompt in _put(prompts, seen)]
    longest = max(map(len, rows))
    room = backbone.max_length - longest
    if room < 1 or not min(map(len, rows)):
        raise ValueError(
            f"A prompt must have between 1 and {backbone.max_length - 1} tokens for {backbone.name}; "
            f"this one has {longest if room < 1 else 0}."
        )
    asked, before = backbone.asking(*_left_padded(backbone, rows))
    stop = _LineStop(backbone, before, given_up)
    with backbone.edited(seen):
        out = backbone.model.generate(
            **asked,
            generation_config=_greedy(backbone, min(max_new_tokens, room)),
            stopping_criteria=StoppingCriteriaList([stop]),
            streamer=streamer,
        )
    if given_up():
        raise GivenUp
    return [first_line(text) for text in decoded(backbone.tokenizer, out[:, before:])]


@torch.no_grad()
def written(backbone: Backbone, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
    """The prompts with what the base model goes on to write, drawn from its own probabilities."""
    rows = [backbone.ids(prompt) for prompt in prompts]
    asked, before = backbone.asking(*_left_padded(backbone, rows))
    drawn = GenerationConfig(
        do_sample=True,
        max_new_tokens=min(tokens, backbone.max_length - max(map(len, rows))),
        eos_token_id=backbone.ends,
        pad_token_id=backbone.pad_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out = backbone.model.generate(**asked, generation_config=drawn)
    said = decoded(backbone.tokenizer, out[:, before:])
    return [prompt + text for prompt, text in zip(prompts, said, strict=True)]


def _left_padded(backbone: Backbone, rows: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """(token ids, mask) [rows, T] on the model's device."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), backbone.pad_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :], mask[i, longest - len(row) :] = torch.tensor(row), 1
    return ids.to(backbone.device), mask.to(backbone.device)


def stream(
    backbone: Backbone,
    prompts: Sequence[str],
    patches: Patches | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Iterator[list[str]]:
    """Yield the continuations so far after every token; the last item equals what `generate` returns.

    Closing the iterator stops the generation, which is never more than AHEAD tokens before its reader. An
    error in the generating thread is raised here.
    """
    results: queue.Queue = queue.Queue(AHEAD)
    cancel, given_up = threading.Event(), GIVEN_UP.get()

    def put(kind: str, value: object) -> None:
        while not cancel.is_set():
            try:
                results.put((kind, value), timeout=0.1)
                return
            except queue.Full:  # who reads is slower, or has gone
                continue

    def work() -> None:
        GIVEN_UP.set(lambda: cancel.is_set() or given_up())
        try:
            collector = _Collector(backbone, lambda texts: put("text", texts))
            final = generate(backbone, prompts, patches, max_new_tokens, collector)
            put("done", final)
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who would wait for ever otherwise
            put("error", error)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
    try:
        while True:
            kind, value = results.get()
            if kind == "error":
                raise value
            yield value
            if kind == "done":
                return
    finally:
        cancel.set()
