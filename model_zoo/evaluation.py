"""Metrics over held-out edits: reliability, generality, locality, as generated text and as teacher-forced token accuracy.

Generated exact match: greedy, up to 32 new tokens, cut at a newline, stripped; a hit if it starts with the target (NFC, case
sensitive) at a word boundary. Locality, generated: base and edited continuation, cut to the base answer's length, are equal.
"""

import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from .atlas.world import World
from .backbone import Backbone
from .delta import Delta, Factors
from .generation import generate
from .joining import unspaced
from .methods import EditMethod
from .tasks import Record, Task
from .tasks.request import EditRequest, instructed

GENERATION_BATCH = 128
METRICS = ("reliability", "generality", "locality")


def starts_with(text: str, target: str) -> bool:
    """Whether a continuation begins with the target at a word boundary (NFC, case sensitive)."""
    text, target = unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", target).strip()
    rest = text[len(target) :]
    inside_word = rest[:1].isalnum() and target[-1:].isalnum() and not unspaced(target[-1])
    return text.startswith(target) and not inside_word


def base_answer(before: str, answer: str = "") -> str:
    """The part of the base continuation that locality protects: the known answer if it is given, else the whole."""
    return answer if answer and starts_with(before, answer) else before.rstrip(".")


def unchanged(before: str, after: str, answer: str = "") -> bool:
    """Generated locality: both continuations, cut to the base answer's length, are the same string."""
    kept = base_answer(before, answer)
    return starts_with(after, kept) if kept else not after


@dataclass(frozen=True)
class Row:
    """One prompt of one case: `metric` it counts for, what is expected, and the text before and after."""

    case: int
    metric: str
    prompt: str
    expected: str
    before: str
    after: str
    hit: bool
    forced: float  # teacher-forced token accuracy; for locality the argmax agreement with the base model


@dataclass(frozen=True)
class Summary:
    """Mean over cases with a bootstrap 95% interval clustered by subject."""

    metric: str
    score: str  # "generated" or "teacher_forced"
    n: int
    subjects: int
    mean: float
    low: float
    high: float


def clustered_interval(values: Sequence[float], clusters: Sequence[str], seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    """95% percentile interval of the mean, resampling whole clusters."""
    groups: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        groups[cluster].append(value)
    sums = np.array([[sum(group), len(group)] for group in groups.values()], dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(sums), size=(draws, len(sums)))
    means = sums[picks, 0].sum(1) / sums[picks, 1].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def requests_for(task: Task, records: Iterable[Record], instruction: str | None = None) -> list[EditRequest]:
    """Each record's request under one wording; by default the task's held-out one."""
    return [task.instruct(record, instruction or task.held_out_instruction) for record in records]


def _forced(backbone: Backbone, prompts: Sequence[str], answers: Sequence[str], factors: Factors) -> tuple[list[float], list[float]]:
    """Per row: share of target tokens that are the edited model's argmax; share where base and edited argmax agree."""
    batch = backbone.batch([backbone.join(p, a) for p, a in zip(prompts, answers, strict=True)])
    row = batch.predicting.nonzero()[:, 0]
    with torch.no_grad():
        after = backbone.target_logits(batch, factors).argmax(-1)
        before = backbone.target_logits(batch).argmax(-1)

    def mean(hit: torch.Tensor) -> list[float]:
        return (torch.zeros(len(prompts), device=hit.device).index_add(0, row, hit.float()) / batch.predicting.sum(1)).tolist()

    return mean(after == batch.targets), mean(after == before)


def score(
    backbone: Backbone, deltas: Sequence[Delta], records: Sequence[Record], requests: Sequence[EditRequest], prefixed: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[Row]:  # fmt: skip
    """Generate before and after for every prompt of every case (each under its own delta, one edit at a time)."""
    todo: list[tuple[int, str, str, str]] = []
    for i, (record, request) in enumerate(zip(records, requests, strict=True)):
        todo.append((i, "reliability", record.request.prompt, request.target))
        todo += [(i, "generality", prompt, request.target) for prompt in record.paraphrases]
        todo += [(i, "locality", probe.prompt, probe.answer) for probe in record.locality]
    rows = []
    for start in progress(range(0, len(todo), GENERATION_BATCH)):
        part = todo[start : start + GENERATION_BATCH]
        used = sorted({case for case, *_ in part})
        texts = [instructed(p, requests[c].task, requests[c].instruction) if prefixed else p for c, _, p, _ in part]
        factors = Factors.of([deltas[c] for c in used], [used.index(c) for c, *_ in part], backbone.device)
        after, before = generate(backbone, texts, factors), generate(backbone, texts)
        hits, agree = _forced(backbone, texts, [expected for *_, expected in part], factors)
        for (case, metric, prompt, expected), a, b, h, g in zip(part, after, before, hits, agree, strict=True):
            local = metric == "locality"
            hit = unchanged(b, a, expected) if local else starts_with(a, expected)
            rows.append(Row(case, metric, prompt, expected, b, a, hit, g if local else h))
    return rows


def summarise(rows: Sequence[Row], records: Sequence[Record], seed: int = 0) -> list[Summary]:
    """Per metric and score: the mean over cases of each case's mean over prompts."""
    summaries = []
    for metric in METRICS:
        for name, value in (("generated", lambda row: float(row.hit)), ("teacher_forced", lambda row: row.forced)):
            cases: dict[int, list[float]] = defaultdict(list)
            for row in rows:
                if row.metric == metric:
                    cases[row.case].append(value(row))
            if not cases:
                continue
            values = [fmean(v) for v in cases.values()]
            subjects = [records[case].subject for case in cases]
            low, high = clustered_interval(values, subjects, seed)
            summaries.append(Summary(metric, name, len(values), len(set(subjects)), fmean(values), low, high))
    return summaries


def evaluate(
    method: EditMethod, backbone: Backbone, world: World, task: Task, n: int, seed: int, prefixed: bool = False, progress=iter
) -> tuple[list[Summary], list[Row]]:
    """n held-out edits of one task, drawn by seed, one at a time on the base model, under the held-out instruction."""
    records = task.records(world, "test", n, random.Random(f"{task.name} {seed}"))
    requests = requests_for(task, records)
    deltas = [delta for i in range(0, n, 16) for delta in method.propose(requests[i : i + 16])]
    rows = score(backbone, deltas, records, requests, prefixed, progress)
    return summarise(rows, records, seed), rows


def recall(backbone: Backbone, prompts: Sequence[tuple[str, str]], progress=iter) -> tuple[float, list[tuple[str, str, str]]]:
    """Share of (prompt, answer) pairs that greedy generation answers rightly, and the misses (prompt, answer, said)."""
    misses = []
    ordered = sorted(prompts, key=lambda pair: len(pair[0]))
    for i in progress(range(0, len(ordered), 256)):
        part = ordered[i : i + 256]
        said = generate(backbone, [prompt for prompt, _ in part], max_new_tokens=16)
        misses += [(p, a, s) for (p, a), s in zip(part, said, strict=True) if not starts_with(s, a)]
    return 1 - len(misses) / len(prompts), misses
