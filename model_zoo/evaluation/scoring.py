"""Prompts of a case -> rows with both scores. The base model's answers are computed once and shared by all methods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..backbone import Backbone
from ..delta import Delta, Factors
from ..generation import generate
from ..tasks import Probe, Record
from ..tasks.request import EditRequest, instructed
from .sentiment import voiced
from .text import base_answer, fluency, starts_with, unchanged

BATCH = 128  # prompts generated at once


@dataclass(frozen=True)
class Case:
    """One edit to measure: its record, its request under the instruction in use, and whether prompts keep the instruction prefix."""

    task: str
    index: int
    record: Record
    request: EditRequest
    prefixed: bool = False

    def shown(self, prompt: str) -> str:
        return instructed(prompt, self.request.task, self.request.instruction) if self.prefixed else prompt

    def asked(self) -> Iterator[tuple[str, Probe]]:
        """(metric, probe) of every prompt; a metric that the record has no field for has no prompt, never a fallback."""
        yield "reliability", Probe(self.record.request.prompt, self.request.target)
        for prompt in self.record.paraphrases:
            yield "generality", Probe(prompt, self.request.target)
        for probe in self.record.locality:
            yield "locality", probe
        for probe in self.record.portability:
            yield "portability", probe


@dataclass(frozen=True)
class Row:
    """One prompt of one case: what is expected, the text before and after, and the scores (None where there is none).

    `generated`: 1 or 0, for fluency bits. `forced`: teacher-forced token accuracy; for locality the argmax agreement with the base.
    `sentiment`: 1 or 0, whether the text voices the target's sentiment, in whatever words; None where the edit is about none.
    """

    case: int
    metric: str
    prompt: str
    expected: str
    before: str
    after: str
    generated: float | None
    forced: float | None
    sentiment: float | None = None


@dataclass
class Baseline:
    """The base model's side, filled as prompts are met: continuations by prompt, argmax tokens by (prompt, answer)."""

    backbone: Backbone
    texts: dict[str, str] = field(default_factory=dict)
    argmax: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def continuations(self, prompts: Sequence[str]) -> list[str]:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.texts]
        for i in range(0, len(new), BATCH):
            part = new[i : i + BATCH]
            self.texts |= dict(zip(part, generate(self.backbone, part), strict=True))
        return [self.texts[prompt] for prompt in prompts]

    def predictions(self, pairs: Sequence[tuple[str, str]]) -> list[Tensor]:
        """The base model's argmax at each answer's positions."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.argmax]
        for i in range(0, len(new), BATCH):
            part = new[i : i + BATCH]
            self.argmax |= {pair: predicted for pair, (predicted, _) in zip(part, predictions(self.backbone, part), strict=True)}
        return [self.argmax[pair] for pair in pairs]


@torch.no_grad()
def predictions(backbone: Backbone, pairs: Sequence[tuple[str, str]], factors: Factors | None = None) -> list[tuple[Tensor, Tensor]]:
    """(argmax tokens, answer tokens) per (prompt, answer), on the CPU; the vocabulary head runs at answer positions only."""
    batch = backbone.batch([backbone.join(prompt, answer) for prompt, answer in pairs])
    predicted = backbone.target_logits(batch, factors).argmax(-1).cpu()
    sizes = batch.predicting.sum(1).tolist()
    return list(zip(predicted.split(sizes), batch.targets.cpu().split(sizes), strict=True))


def score(backbone: Backbone, baseline: Baseline, cases: Sequence[Case], deltas: Sequence[Delta | None]) -> list[Row]:
    """Rows of every case under its own delta, one edit at a time; a delta of None is the base model itself."""
    todo = [(i, metric, probe, case.shown(probe.prompt)) for i, case in enumerate(cases) for metric, probe in case.asked()]
    before = baseline.continuations([text for *_, text in todo])
    # locality protects what the base says: without a known answer its own continuation stands for it
    answers = [probe.answer or (base_answer(b) if metric == "locality" else "") for (_, metric, probe, _), b in zip(todo, before, strict=True)]
    rows: list[Row] = []
    for start in range(0, len(todo), BATCH):
        part = todo[start : start + BATCH]
        factors = _factors(backbone, [deltas[i] for i, *_ in part])
        after = generate(backbone, [text for *_, text in part], factors)
        forced = _forced(backbone, baseline, part, answers[start : start + BATCH], factors)
        for (i, metric, probe, _), b, a, answer, share in zip(part, before[start:], after, answers[start:], forced):
            hit = unchanged(b, a, answer) if metric == "locality" else any(starts_with(a, wanted) for wanted in (answer, *probe.aliases))
            rows.append(
                Row(cases[i].index, metric, probe.prompt, answer, b, a, float(hit), share, _same_sentiment(cases[i].record, metric, answer, a))
            )
            if metric == "reliability":
                rows.append(Row(cases[i].index, "fluency", probe.prompt, "", b, a, fluency(a), None))
    return rows


def _same_sentiment(record: Record, metric: str, target: str, text: str) -> float | None:
    if not record.replies or metric not in ("reliability", "generality"):
        return None
    wanted = voiced(target, dict(record.replies))
    return float(voiced(text, dict(record.replies)) == wanted) if wanted else None


def _factors(backbone: Backbone, deltas: Sequence[Delta | None]) -> Factors | None:
    """Row i of the batch sees deltas[i]."""
    used = list({id(d): d for d in deltas if d is not None}.values())
    if not used:
        return None
    position = {id(d): n for n, d in enumerate(used)}
    return Factors.of(used, [position.get(id(d), -1) for d in deltas], backbone.device)


def _forced(backbone: Backbone, baseline: Baseline, part: Sequence[tuple], answers: Sequence[str], factors: Factors | None) -> list[float | None]:
    rows = [n for n, answer in enumerate(answers) if answer.strip()]
    pairs = [(part[n][3], answers[n]) for n in rows]
    found: list[float | None] = [None] * len(part)
    if not pairs:
        return found
    seen = factors and factors.to_rows([int(factors.row_to_edit[n]) for n in rows])
    base = baseline.predictions(pairs)
    for n, (predicted, target), own in zip(rows, predictions(backbone, pairs, seen), base, strict=True):
        found[n] = (predicted == (own if part[n][1] == "locality" else target)).float().mean().item()
    return found
