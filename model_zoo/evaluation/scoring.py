"""Prompts of a case -> rows with both scores. The base model's answers are computed once and shared by all
methods.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor

from ..backbone import Backbone
from ..changes import Patch, Patches
from ..generation import MAX_NEW_TOKENS, generate, mean_nll, predictions
from ..records import Probe, Record
from ..request import EditRequest, instructed
from .sentiment import Classifier, voiced
from .text import degenerate, fluency, follows, protected, typed_small, unchanged

BATCH = 128  # prompts generated at once
BEYOND = 8  # tokens generated behind the longest answer


@dataclass(frozen=True)
class Case:
    """One edit to measure: its record, its request under the instruction in use, and whether prompts keep the
    instruction prefix.
    """

    task: str
    index: int
    record: Record
    request: EditRequest
    prefixed: bool = False

    def shown(self, prompt: str) -> str:
        return instructed(prompt, self.request.task, self.request.instruction) if self.prefixed else prompt

    def asked(self) -> Iterator[tuple[str, Probe]]:
        """(metric, probe) of every prompt; a metric that the record has no field for has no prompt, never a
        fallback.
        """
        yield "reliability", Probe(self.record.request.prompt, self.request.target)
        for prompt in self.record.paraphrases:
            yield "generality", Probe(prompt, self.request.target)
        for probe in self.record.locality:
            yield "locality", probe
        for probe in self.record.portability:
            yield "portability", probe


@dataclass(frozen=True)
class Row:
    """One prompt of one case: what is expected, the text before and after, and the scores (None where there
    is none).

    "locality_known" is the locality of probes whose known answer the base gives. `generated`: 1 or 0, for
    fluency bits. `forced`: teacher-forced token accuracy; for locality the argmax agreement with the base.
    `sentiment`: 1 or 0, whether the text voices the wanted sentiment, in whatever words; None where the edit
    is about none. `preferred`: 1 or 0, whether the right answer is likelier than the other; None where either
    is not known.
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
    preferred: float | None = None


@dataclass
class Baseline:
    """The base model's side, filled as prompts are met: continuations by prompt, argmax tokens by (prompt,
    answer).
    """

    backbone: Backbone
    texts: dict[str, str] = field(default_factory=dict)
    argmax: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def continuations(self, prompts: Sequence[str], room: int = MAX_NEW_TOKENS) -> list[str]:
        """What the base model says in up to `room` tokens."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.texts]
        for i in range(0, len(new), BATCH):
            part = new[i : i + BATCH]
            self.texts |= dict(zip(part, generate(self.backbone, part, None, room), strict=True))
        return [self.texts[prompt] for prompt in prompts]

    def predictions(self, pairs: Sequence[tuple[str, str]]) -> list[Tensor]:
        """The base model's argmax at each answer's positions."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.argmax]
        for i in range(0, len(new), BATCH):
            part = new[i : i + BATCH]
            self.argmax |= {
                pair: predicted
                for pair, (predicted, _) in zip(part, predictions(self.backbone, part), strict=True)
            }
        return [self.argmax[pair] for pair in pairs]


class _Asked(NamedTuple):
    """One prompt of one case: what is measured, as it is put to the model, and the answer that counts."""

    case: int
    metric: str
    probe: Probe
    shown: str
    before: str
    answer: str


def score(backbone: Backbone, baseline: Baseline, cases: Sequence[Case], patches: Patches) -> list[Row]:
    """Rows of every case under its own patch; a patch of None is the base model itself."""
    room = _room(backbone, cases)
    asked = _questions(baseline, cases, room)
    rows: list[Row] = []
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        seen = [patches[question.case] for question in part]
        after = generate(backbone, [question.shown for question in part], seen, room)
        forced = _forced(backbone, baseline, part, seen)
        preferred = _preferred(backbone, cases, part, seen)
        for question, text, share, prefers in zip(part, after, forced, preferred, strict=True):
            in_chat = backbone.in_chat(question.shown)
            scored = _rows(cases[question.case], question, text, share, in_chat)
            rows += [replace(row, preferred=prefers) if row.expected else row for row in scored]
    return rows


def _questions(baseline: Baseline, cases: Sequence[Case], room: int) -> list[_Asked]:
    """Every prompt of every case with the base model's answer."""
    todo = [
        (i, metric, probe, baseline.backbone.asked(case.shown(probe.prompt), case.request.chat))
        for i, case in enumerate(cases)
        for metric, probe in case.asked()
    ]
    before = baseline.continuations([shown for *_, shown in todo], room)
    found = []
    for (i, metric, probe, shown), text in zip(todo, before, strict=True):
        answer = probe.answer
        if metric == "locality":
            answer = protected(text, answer, typed_small(probe.prompt), baseline.backbone.in_chat(shown))
        found.append(_Asked(i, metric, probe, shown, text, answer))
    return found


def _rows(case: Case, asked: _Asked, after: str, forced: float | None, in_chat: bool) -> list[Row]:
    """The row of one prompt, and for the edit's own prompt those of its text. A degenerate text is no hit."""
    metric, probe, before, answer = asked.metric, asked.probe, asked.before, asked.answer
    small = typed_small(probe.prompt)
    if metric == "locality":
        hit = unchanged(before, after, answer, small, in_chat)
    else:
        hit = any(follows(after, wanted, small, in_chat) for wanted in (answer, *probe.aliases))
    sentiment = _same_sentiment(case.record, metric, answer, after)
    rows = [Row(case.index, metric, probe.prompt, answer, before, after, float(hit), forced, sentiment)]
    if metric == "locality" and probe.answer and answer == probe.answer:
        rows.append(replace(rows[0], metric="locality_known"))
    if metric == "reliability":
        told = (case.index, probe.prompt, before, after)
        rows.append(_of_text("fluency", *told, fluency(after)))
        rows.append(_of_text("degenerate", *told, float(degenerate(after))))
    return rows


def _of_text(metric: str, case: int, prompt: str, before: str, after: str, value: float | None) -> Row:
    """What an edit's own text is worth, whatever was wanted."""
    return Row(case, metric, prompt, "", before, after, value, None)


def _same_sentiment(record: Record, metric: str, target: str, text: str) -> float | None:
    if metric not in ("reliability", "generality"):
        return None
    if record.sentiment:
        return float(not degenerate(text) and Classifier.shipped().sentiment(text) == record.sentiment)
    if not record.replies:
        return None
    wanted = voiced(target, dict(record.replies))
    return float(voiced(text, dict(record.replies)) == wanted) if wanted else None


def _room(backbone: Backbone, cases: Sequence[Case]) -> int:
    """How many tokens to generate: the longest answer and some more, at least as many as always."""
    longest = max((probe.answer for case in cases for _, probe in case.asked()), key=len)
    tokens = len(backbone.tokenizer(longest, add_special_tokens=False)["input_ids"])
    return max(MAX_NEW_TOKENS, tokens + BEYOND)


def _preferred(
    backbone: Backbone, cases: Sequence[Case], part: Sequence[_Asked], patches: Sequence[Patch | None]
) -> list[float | None]:
    """Whether the right answer is likelier than the other, by the mean log-probability of their tokens; None
    where either is not known.
    """
    rivals: dict[int, tuple[str, str]] = {}
    for n, asked in enumerate(part):
        record, target = cases[asked.case].record, cases[asked.case].request.target
        right, wrong = (asked.probe.answer, target) if asked.metric == "locality" else (target, record.truth)
        if asked.metric != "portability" and right and wrong and right != wrong:
            rivals[n] = (right, wrong)
    found: list[float | None] = [None] * len(part)
    if rivals:
        shown, seen = [part[n].shown for n in rivals], [patches[n] for n in rivals]
        rights, wrongs = (mean_nll(backbone, shown, answers, seen) for answers in zip(*rivals.values()))
        for n, own, other in zip(rivals, rights, wrongs, strict=True):
            found[n] = float(own < other)
    return found


def _forced(
    backbone: Backbone, baseline: Baseline, part: Sequence[_Asked], patches: Sequence[Patch | None]
) -> list[float | None]:
    """Teacher-forced token accuracy of each prompt's answer; for locality the argmax agreement with the base.
    None without an answer.
    """
    rows = [n for n, asked in enumerate(part) if asked.answer.strip()]
    found: list[float | None] = [None] * len(part)
    if not rows:
        return found
    pairs = [(part[n].shown, part[n].answer) for n in rows]
    edited = predictions(backbone, pairs, [patches[n] for n in rows])
    for n, (predicted, target), own in zip(rows, edited, baseline.predictions(pairs), strict=True):
        wanted = own if part[n].metric == "locality" else target
        found[n] = (predicted == wanted).float().mean().item()
    return found
