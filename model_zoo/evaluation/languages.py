"""Edits in one language, asked in another: the metrics of Bi-ZsRE and BMIKE-53 for every two languages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..backbone import Backbone
from ..changes import patch_of
from ..generation import generate
from ..methods import EditMethod, check_requests
from ..records import Record
from ..request import EditRequest
from .summary import mean_of
from .text import follows, protected, typed_small, unchanged

ROOM = 24  # tokens of an answer


@dataclass(frozen=True)
class Crossed:
    """One metric of edits in the language `edited`, asked in `asked`; a 95% bootstrap interval over rows."""

    edited: str
    asked: str
    metric: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class _Asked:
    """One prompt of a record: what would be right, or that the base's answer is to stay."""

    metric: str
    prompt: str
    answer: str
    stays: bool = False


def _prompts(record: Record) -> list[_Asked]:
    target = record.request.target
    return [
        _Asked("reliability", record.request.prompt, target),
        *(_Asked("generality", text, target) for text in record.paraphrases[:1]),
        *(_Asked("locality", probe.prompt, probe.answer, True) for probe in record.locality[:1]),
        *(_Asked("portability", probe.prompt, probe.answer) for probe in record.portability[:1]),
    ]


def fitting(
    method: type[EditMethod],
    rows: Sequence[Mapping[str, Record]],
    request: Callable[[Record], EditRequest],
) -> tuple[list[Mapping[str, Record]], str]:
    """(the rows that a method can edit in each of their languages, why the first other one cannot)."""
    fit, reason = [], ""
    for row in rows:
        try:
            check_requests(method, [request(record) for record in row.values()])
            fit.append(row)
        except ValueError as error:
            reason = reason or str(error)
    return fit, reason


def crossing(
    backbone: Backbone,
    method: EditMethod,
    rows: Sequence[Mapping[str, Record]],
    request: Callable[[Record], EditRequest],
    put: Callable[[str], str],
) -> Iterator[tuple[int, list[Crossed]]]:
    """(rows done, the table so far): every row edited in each of its languages, alone on the base model, and
    asked in all of them. `put` makes of a prompt what the model is given. The method can make them all
    (`fitting`).
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for done, row in enumerate(rows, 1):
        probes = [(name, own) for name, record in row.items() for own in _prompts(record)]
        texts = [put(own.prompt) for _, own in probes]
        before = generate(backbone, texts, None, ROOM)
        for edited, record in row.items():
            wanted = request(record)
            (change,) = method.propose([wanted])
            after = generate(backbone, texts, [patch_of(change)] * len(texts), ROOM)
            for (language, own), text, was, now in zip(probes, texts, before, after, strict=True):
                hit = _right(own, was, now, backbone.in_chat(text))
                found.setdefault((edited, language, own.metric), []).append(float(hit))
        yield done, [Crossed(a, b, metric, *mean_of(hits)) for (a, b, metric), hits in found.items()]


def _right(own: _Asked, before: str, after: str, in_chat: bool) -> bool:
    small = typed_small(own.prompt)
    if own.stays:
        return unchanged(before, after, protected(before, own.answer, small, in_chat), small, in_chat)
    return follows(after, own.answer, small, in_chat)
