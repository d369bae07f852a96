"""One row of a records file, and the values that its fields may hold."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ..records import Probe

# what a field is for: the names it goes by in the files that circulate, most telling first
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prompt": ("prompt", "prompts", "src", "question", "input", "text"),
        "target": (
            "target_new",
            "alt",
            "target",
            "new_target",
            "alternatives",
            "labels",
            "answer",
            "output",
            "completion",
        ),
        "subject": ("subject", "concept", "entity"),
        "truth": ("ground_truth", "answers", "old", "pred", "prediction", "target_old", "target_true"),
        "paraphrases": (
            "rephrase_prompt",
            "rephrase_prompts",
            "rephrase",
            "rephrases",
            "paraphrases",
            "paraphrase",
            "paraphrase_prompts",
            "filtered_rephrases",
            "queries",
        ),
        "locality": ("locality", "locality_inputs", "neighborhood_prompts"),
        "portability": ("portability", "portability_inputs"),
        "instruction": ("instruction",),
    }
)
# a probe's prompts in one field, and its answers in the first of others that is there
FLAT: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = MappingProxyType(
    {
        "locality": (
            ("loc", ("loc_ans",)),
            ("locality_prompt", ("locality_ground_truth", "locality_answer")),
        ),
        "portability": (
            ("port", ("port_ans",)),
            ("portability_prompt", ("portability_ground_truth", "portability_answer")),
        ),
    }
)
PROBE_PROMPT = ("prompt", "question", "New Question", "cloze")
PROBE_ANSWER = ("ground_truth", "answer", "answers", "target", "New Answer")
# names whose value is a list, also in one cell
LISTED = frozenset(
    name for purpose in ("paraphrases", "locality", "portability") for name in FIELDS[purpose]
) | {name for pairs in FLAT.values() for asked, answers in pairs for name in (asked, *answers)}
SEPARATOR = re.compile(r"\s*\|\s*")  # of lists in one text
_SLOT = re.compile(r"\{(subject)?\}")


@dataclass(frozen=True)
class Problem:
    """What was left out of a row: which one, which field, why; `refused`: all of it."""

    row: str
    field: str
    reason: str
    refused: bool = False

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"row {self.row}" if self.row[:1].isdigit() else self.row

    @property
    def in_words(self) -> str:
        return f"{self.place}, {self.field}: {self.reason}"


class Missing(Exception):
    """Why a row is none: the field and the reason."""

    def __init__(self, field: str, reason: str):
        super().__init__(field, reason)
        self.field, self.reason = field, reason


def shortened(text: str, most: int = 60) -> str:
    """The text, cut to at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def in_one_line(text: str) -> str:
    """A text of a file for a message: line breaks are spaces, and it is never long."""
    return shortened(" ".join(text.split()), 500)


def in_words(value: Any) -> str:
    """What a value of JSON is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
    return kinds.get(type(value), "a number")


def _is_visible(text: str) -> bool:
    """Whether a text has a character to be seen: no zero-width or control characters alone."""
    return any(c.isprintable() and not c.isspace() for c in text)


def field_name(text: str) -> str:
    """A field's name however it is written: "Target New" is target_new."""
    return re.sub(r"[\s\-]+", "_", text.strip().strip("\ufeff\"'").lower())


@lru_cache(maxsize=1)
def known_fields() -> frozenset[str]:
    """Every name of FIELDS and FLAT."""
    flat = (name for pairs in FLAT.values() for asked, answers in pairs for name in (asked, *answers))
    return frozenset([*(name for names in FIELDS.values() for name in names), *flat])


@dataclass
class Row:
    """One row: where it stands, its data, and which of its fields were read. Problems go to `problems`."""

    where: str
    data: dict
    problems: list[Problem]
    read: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._names = {field_name(str(key)): key for key in reversed(self.data)}

    def has(self, *names: str) -> bool:
        """Whether it has all these fields."""
        return all(field_name(name) in self._names for name in names)

    def take(self, *names: str) -> Any:
        """The value of the first of these fields that it has; None where it has none."""
        for name in map(field_name, names):
            if name in self._names:
                self.read.add(self._names[name])
                return self.data[self._names[name]]
        return None

    def first(self, purpose: str) -> Any:
        """The value of the first field of a purpose (FIELDS)."""
        return self.take(*FIELDS[purpose])

    def needed(self, *names: str) -> str:
        """The first text of the first of these fields. Missing where there is none: never a letter of a
        string, never another field's value.
        """
        found = next((name for name in map(field_name, names) if name in self._names), None)
        if found is None:
            had = ", ".join(map(str, self.data)) or "nothing"
            raise Missing(names[0], f"missing (looked for {', '.join(names)}; found {had})")
        texts, name = texts_of(value := self.take(found)), str(self._names[found])
        if not texts:
            truth = isinstance(value, bool)
            raise Missing(name, f"found {in_words(value)}, needed a text" if truth else "empty")
        if len(texts) > 1 and field_name(name) in FIELDS["target"]:
            self.wrong(name, f"of {len(texts)} answers the first is the target, not {', '.join(texts[1:])}")
        return texts[0]

    def parts(self, name: str) -> "Iterator[tuple[str, Row]]":
        """(place, row) of every object in the list of a field; what is none is left out and listed."""
        value = self.take(name)
        for i, part in enumerate(value if isinstance(value, list) else [] if value is None else [value]):
            place = f"{name}[{i}]"
            if isinstance(part, dict):
                yield place, Row(self.where, part, self.problems)
            else:
                self.wrong(place, f"found {in_words(part)}, needed an object; left out")

    def wrong(self, field: str, reason: str, refused: bool = False) -> None:
        """List something that is left out or read otherwise than it stands."""
        self.problems.append(Problem(self.where, field, reason, refused))

    @property
    def unread(self) -> list[str]:
        return [str(key) for key in self.data if key not in self.read]


def texts_of(value: Any) -> list[str]:
    """A string, a list of strings or a list of lists of strings, as non-empty strings in order."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return [str(value).strip()] if _is_visible(str(value)) else []
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    if isinstance(value, dict):  # {"str": "Rome"}, {"value": "Rome", "aliases": [...]}
        own = texts_of(next((value[key] for key in ("str", "value", "answer") if key in value), None))
        return own + texts_of(value.get("aliases"))
    return []


def listed(value: Any) -> list[str]:
    """As texts_of; one text with bars in it is a list."""
    if isinstance(value, str):
        return [part for part in SEPARATOR.split(value.strip()) if part]
    return texts_of(value)


def filled(text: str, subject: str) -> str:
    """The text with the subject in its slot. Missing where it has a slot and there is no subject."""
    if not _SLOT.search(text):
        return text
    if not subject:
        raise Missing("prompt", f"'{text}' has a slot {{}} and the row no subject to fill it")
    return _SLOT.sub(lambda _: subject, text)


def probes(value: Any, row: Row, field: str, subject: str, open_too: bool) -> tuple[Probe, ...]:
    """Probes in any of the shapes that circulate: a list, a dict by kind, parallel lists of prompts and
    answers, texts "prompt => answer", prompts alone where they may be open (`open_too`: what the base says
    counts). One without a prompt or a needed answer is left out and listed.
    """
    found = []
    for where, kind, prompt, answers in _asked(value, field, ""):
        try:
            prompt = filled(prompt, subject)
        except Missing as missing:
            row.wrong(where, f"{missing.reason}; left out")
            continue
        if prompt and (answers or open_too):
            found.append(Probe(prompt, "".join(answers[:1]), tuple(answers[1:]), kind))
        else:
            row.wrong(where, f"the probe has no {'answer' if prompt else 'prompt'}; left out")
    return tuple(found)


def _asked(value: Any, where: str, kind: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """(where, kind, prompt, answers) of every probe in a value."""
    if isinstance(value, dict) and (pair := _pair(value)) is not None:
        yield from _paired(*pair, where, kind)
    elif isinstance(value, dict):
        for name, items in value.items():
            yield from _asked(items, f"{where}.{name}", str(name))
    elif isinstance(value, str):
        for i, text in enumerate(listed(value)):
            yield f"{where}[{i}]", kind, *_told(text)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, dict) and (pair := _pair(item)) is not None:
                yield from _paired(*pair, f"{where}[{i}]", kind)
            elif isinstance(item, str):
                yield f"{where}[{i}]", kind, *_told(item)
            else:
                yield f"{where}[{i}]", kind, "", _answers(item)
    elif value is not None:
        yield f"{where}[0]", kind, "", []


def _told(text: str) -> tuple[str, list[str]]:
    """The prompt and answers of "prompt => answer"."""
    prompt, _, answer = text.partition("=>")
    return prompt.strip(), texts_of(answer)


def _answers(item: Any) -> list[str]:
    return (
        texts_of(next((item[key] for key in PROBE_ANSWER if key in item), None))
        if isinstance(item, dict)
        else []
    )


def _pair(item: dict) -> tuple[Any, Any] | None:
    """The prompt and answer of one probe, or of parallel lists of them; None where it is no probe."""
    asked = next((item[key] for key in PROBE_PROMPT if key in item), None)
    return None if asked is None else (asked, next((item[key] for key in PROBE_ANSWER if key in item), None))


def _paired(asked: Any, answers: Any, where: str, kind: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Parallel lists go together, item by item; of one prompt all answers count."""
    prompts = texts_of(asked)
    if isinstance(asked, list) and len(prompts) > 1:
        each = (
            answers if isinstance(answers, list) and len(answers) == len(prompts) else [None] * len(prompts)
        )
        for i, (prompt, answer) in enumerate(zip(prompts, each, strict=True)):
            yield f"{where}[{i}]", kind, prompt, texts_of(answer)
    else:
        yield where, kind, prompts[0] if prompts else "", texts_of(answers)
