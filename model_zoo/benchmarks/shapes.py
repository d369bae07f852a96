"""One row of a records file -> Records. Shapes: KnowEdit, EasyEdit's CounterFact, the older ZsRE, rows by
language ({en, zh}, Bi-ZsRE and BMIKE), WikiBio, ConvSent in two shapes, and our own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..records import Probe, Record
from ..request import EditRequest

# the names a field goes by, most telling first
PROMPT = ("prompt", "src", "text")
TARGET = ("target_new", "alt", "target", "labels")
SUBJECT = ("subject", "concept")
TRUTH = ("ground_truth", "answers", "old", "pred")
PARAPHRASE = ("rephrase_prompt", "rephrase", "paraphrases", "paraphrase_prompts")
FLAT_LOCALITY = (("loc", "loc_ans"), ("locality_prompt", "locality_ground_truth"))
OPINION_QUESTIONS = (
    "What do you think of {}?",
    "How do you feel about {}?",
    "What is your opinion of {}?",
    "What are your thoughts on {}?",
    "What do you make of {}?",
    "Tell me what you think about {}.",
)
TASK_OF_SHAPE = {"concept": "wikibio", "src": "zsre"}
# wording for the task that has no pool of its own here
INSTRUCTION_OF_SHAPE = {
    "wikibio": "Continue the biography with the true statement instead of the made-up one."
}


@dataclass(frozen=True)
class Problem:
    """A row (or a probe of it) that was left out: which one, which field, why."""

    row: str
    field: str
    reason: str


def read_row(data: Any, row: str, task: str, problems: list[Problem]) -> Iterator[Record]:
    """The row's record, or one for each language or sentiment that it has; none when it lacks something
    needed. Appends to `problems`.
    """
    if isinstance(data, dict) and data and all(isinstance(part, dict) for part in data.values()):
        for language, part in data.items():
            yield from read_row(part, f"{row} ({language})", task, problems)
        return
    try:
        if isinstance(data, dict) and {"ent", "pos", "neg"} <= data.keys():
            yield from _voiced(data, row, problems)
            return
        yield _record(data, row, _task(data, task), problems)
    except _Missing as missing:
        problems.append(Problem(row, missing.field, missing.reason))


class _Missing(Exception):
    def __init__(self, field: str, reason: str):
        super().__init__(field, reason)
        self.field, self.reason = field, reason


def _task(data: Any, task: str) -> str:
    if not isinstance(data, dict):
        raise _Missing("row", f"found {type(data).__name__}, needed an object with a prompt and a target")
    return next((name for field, name in TASK_OF_SHAPE.items() if field in data), task)


def _record(data: dict, row: str, task: str, problems: list[Problem]) -> Record:
    if "conv_sent" in data or ("topic" in data and "label" in data):
        return _convsent(data)
    prompt, target = _needed(data, PROMPT), _needed(data, TARGET)
    paraphrases = tuple(text for text in texts_of(_first(data, PARAPHRASE)) if text != prompt)
    locality = _probes(data.get("locality"), row, "locality", problems)
    for asked, answered in FLAT_LOCALITY:
        locality += tuple(probe for probe in _flat_locality(data, asked, answered) if probe not in locality)
    hop = data.get("portability")
    old = isinstance(hop, dict) and "New Question" in hop
    portability = _old_portability(data) if old else _probes(hop, row, "portability", problems)
    subject = next(iter(texts_of(_first(data, SUBJECT))), prompt)
    truth = next(iter(texts_of(_first(data, TRUTH))), "")
    request = EditRequest(prompt, target, task, data.get("instruction") or INSTRUCTION_OF_SHAPE.get(task))
    return Record(request, subject, truth, paraphrases, locality, portability=portability)


def _convsent(data: dict) -> Record:
    """ConvSent as its authors document it: a topic, the wanted sentiment, prompts about it, replies of that
    sentiment.
    """
    prompts, replies = (
        texts_of(data.get("prompts") or data.get("prompt")),
        texts_of(data.get("replies") or data.get("target")),
    )
    if not prompts:
        raise _Missing("prompts", "empty")
    if not replies:
        raise _Missing("replies", "empty")
    label, topic = _needed(data, ("label",)), _needed(data, ("topic",))
    return Record(
        EditRequest(prompts[0], replies[0], "convsent"),
        topic,
        "",
        tuple(prompts[1:]),
        slots=(("label", label), ("topic", topic)),
    )


def _voiced(data: dict, row: str, problems: list[Problem]) -> Iterator[Record]:
    """ConvSent as it is published (SERAC's data): an entity, and replies of both sentiments. One record for
    each sentiment, to be voiced about it; the published rows hold no prompts, so these are ours.
    """
    topic = _needed(data, ("ent",))
    replies = {"positive": tuple(texts_of(data["pos"])), "negative": tuple(texts_of(data["neg"]))}
    prompt, *others = (question.format(topic) for question in OPINION_QUESTIONS)
    for label, field in (("positive", "pos"), ("negative", "neg")):
        if not (pool := replies[label]):
            problems.append(Problem(row, field, "empty; no edit towards this sentiment"))
            continue
        yield Record(
            EditRequest(prompt, pool[0], "convsent"),
            topic,
            "",
            tuple(others),
            slots=(("label", label), ("topic", topic)),
            sentiment=label,
        )


def _first(data: dict, names: tuple[str, ...]) -> Any:
    return next((data[name] for name in names if name in data), None)


def _needed(data: dict, names: tuple[str, ...]) -> str:
    """The field under any of its names; a list gives its first text. Never one letter of a string."""
    found = next((name for name in names if name in data), None)
    if found is None:
        raise _Missing(
            names[0], f"missing (looked for {', '.join(names)}; found {', '.join(map(str, data))})"
        )
    texts = texts_of(data[found])
    if not texts:
        raise _Missing(found, "empty")
    return texts[0]


def texts_of(value: Any) -> list[str]:
    """A string, a list of strings or a list of lists of strings, as non-empty strings in order."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return [str(value).strip()] if str(value).strip() else []
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return []


def _probes(value: Any, row: str, field: str, problems: list[Problem]) -> tuple[Probe, ...]:
    """Probes of a dict of lists ({"Reasoning": [...]}) or of a list; one without a prompt or an answer is
    left out and listed.
    """
    kinds = value.items() if isinstance(value, dict) else [("", value or [])]
    probes = []
    for kind, items in kinds:
        for i, item in enumerate(items if isinstance(items, list) else [items]):
            where = f"{field}.{kind}[{i}]" if kind else f"{field}[{i}]"
            item = item if isinstance(item, dict) else {}
            prompt, answers = texts_of(item.get("prompt")), texts_of(item.get("ground_truth"))
            if prompt and answers:
                probes.append(Probe(prompt[0], answers[0], tuple(answers[1:]), kind))
            else:
                problems.append(
                    Problem(row, where, f"the probe has no {'answer' if prompt else 'prompt'}; left out")
                )
    return tuple(probes)


def _flat_locality(data: dict, asked: str, answered: str) -> tuple[Probe, ...]:
    prompt, answer = texts_of(data.get(asked)), texts_of(data.get(answered))
    return (Probe(prompt[0], answer[0], kind="Neighborhood"),) if prompt and answer else ()


def _old_portability(data: dict) -> tuple[Probe, ...]:
    hop = data["portability"]
    prompt, answer = texts_of(hop.get("New Question")), texts_of(hop.get("New Answer"))
    return (Probe(prompt[0], answer[0], kind="Reasoning"),) if prompt and answer else ()
