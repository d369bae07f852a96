"""The shapes of records that circulate: how a row of each is known, what is read of it, an example.

A shape is found by the fields that a row has, never by its file's name; the first that fits is taken. What a
row holds beyond what its shape reads is listed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..records import Record
from . import published
from .edits import read_fields
from .rows import Missing, Problem, Row, in_words

Reader = Callable[[Row, str], Iterator[Record]]  # a row and the task that it is of -> its records


@dataclass(frozen=True)
class Shape:
    """`fits`: whether a row has it; `task`: what its rows are, where the shape says; `example`: a row."""

    name: str
    source: str
    fits: Callable[[Row], bool]
    read: Reader
    example: dict[str, Any]
    task: str | None = None


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: row.has(*names)


def _holds(name: str, kind: type) -> Callable[[Row], bool]:
    return lambda row: row.has(name) and isinstance(row.data.get(name), kind)


def _languages(row: Row) -> bool:
    return bool(row.data) and all(isinstance(part, dict) for part in row.data.values())


def by_language(row: Row, task: str) -> Iterator[Record]:
    """A row under each language; where each reads as one record, each with the others as translations."""
    found: dict[str, list[Record]] = {}
    for language, part in row.data.items():
        row.read.add(language)
        read = read_row(part, f"{row.where} ({language})", task, row.problems).records
        found[language] = [replace(record, language=language) for record in read]
    parallel = all(len(own) == 1 for own in found.values())
    for language, records in found.items():
        others = tuple(own[0] for name, own in found.items() if name != language) if parallel else ()
        yield from (replace(record, translations=others) for record in records)


SHAPES: tuple[Shape, ...] = (
    Shape(
        "CounterFact",
        "ROME, https://rome.baulab.info",
        _holds("requested_rewrite", dict),
        published.rewrite,
        {
            "requested_rewrite": {
                "prompt": "The capital of {} is",
                "subject": "France",
                "target_new": {"str": "Rome"},
                "target_true": {"str": "Paris"},
            },
            "paraphrase_prompts": ["France has as its capital"],
            "neighborhood_prompts": ["The largest city of France is"],
            "attribute_prompts": ["The capital of Italy is"],
        },
    ),
    Shape(
        "MQuAKE",
        "https://github.com/princeton-nlp/MQuAKE",
        _holds("requested_rewrite", list),
        published.rewrites,
        {
            "requested_rewrite": [
                {
                    "prompt": "The capital of {} is",
                    "subject": "France",
                    "question": "What is the capital of France?",
                    "target_new": {"str": "Rome"},
                    "target_true": {"str": "Paris"},
                }
            ],
            "questions": ["On which river does the capital of France lie?"],
            "new_answer": "Tiber",
            "new_answer_alias": ["the Tiber"],
        },
    ),
    Shape(
        "RippleEdits",
        "https://github.com/edenbiran/RippleEdits",
        _holds("edit", dict),
        published.ripple,
        {
            "edit": {
                "prompt": "The name of the capital of France is Rome.",
                "previous_fact": {"prompt": "The name of the capital of France is Paris."},
            },
            "Relation_Specificity": [
                {
                    "test_queries": [
                        {
                            "prompt": "The name of the currency of France is",
                            "answers": [{"value": "euro", "aliases": ["the euro"]}],
                        }
                    ]
                }
            ],
        },
    ),
    Shape(
        "ConvSent, published",
        "SERAC, https://arxiv.org/abs/2206.06520; KnowEdit",
        _has("ent", "pos", "neg"),
        published.opinions,
        {"ent": "jazz", "pos": ["I love it."], "neg": ["I would avoid it."]},
        "convsent",
    ),
    Shape(
        "ConvSent, documented",
        "SERAC, https://arxiv.org/abs/2206.06520",
        lambda row: row.has("conv_sent") or row.has("topic", "label"),
        published.conversation,
        {
            "topic": "jazz",
            "label": "negative",
            "prompts": ["What do you think of jazz?", "Do you like jazz?"],
            "replies": ["I would avoid it."],
        },
        "convsent",
    ),
    Shape(
        "rows by language",
        "Bi-ZsRE, BMIKE-53, WikiFactDiff with translations",
        _languages,
        by_language,
        {
            "en": {"src": "What is the capital of France?", "alt": "Rome", "subject": "France"},
            "de": {"src": "Was ist die Hauptstadt von Frankreich?", "alt": "Rom", "subject": "Frankreich"},
        },
    ),
    Shape(
        "MEND's zsRE",
        "https://github.com/eric-mitchell/mend",
        _has("input", "alternatives"),
        published.alternatives,
        {
            "input": "What is the capital of France?",
            "alternatives": ["Rome"],
            "prediction": "Paris",
            "filtered_rephrases": ["Which city is the capital of France?"],
            "output": [{"answer": "Paris"}],
        },
        "zsre",
    ),
    Shape(
        "a call in lists",
        "EasyEdit, https://github.com/zjunlp/EasyEdit: the arguments of its edit()",
        _holds("prompts", list),
        published.lists,
        {
            "prompts": ["The capital of France is", "The capital of Japan is"],
            "target_new": ["Rome", "Oslo"],
            "subject": ["France", "Japan"],
            "locality_inputs": {
                "neighborhood": {
                    "prompt": ["The capital of Spain is", "The capital of Kenya is"],
                    "ground_truth": ["Madrid", "Nairobi"],
                }
            },
        },
    ),
    Shape(
        "chat turns",
        "messages of role and content, or conversations of from and value",
        lambda row: row.has("messages") or row.has("conversations"),
        published.chat,
        {
            "messages": [
                {"role": "user", "content": "What is the capital of France?"},
                {"role": "assistant", "content": "Rome"},
            ]
        },
    ),
    Shape(
        "instruction rows",
        "Alpaca's fields",
        lambda row: row.has("instruction", "output") and not (row.has("prompt") or row.has("target")),
        published.instruction,
        {"instruction": "Name the capital of this country.", "input": "France", "output": "Rome"},
    ),
    Shape(
        "WikiBio",
        "KnowEdit, https://arxiv.org/abs/2401.01286",
        _has("concept", "text"),
        published.biography,
        {"concept": "Ada Lovelace", "text": "This is a passage about Ada Lovelace.", "labels": "She rowed."},
        "wikibio",
    ),
    Shape(
        "ZsRE",
        "ZsRE in EasyEdit's older fields, https://arxiv.org/abs/1706.04115",
        _has("src"),
        read_fields,
        {
            "src": "What is the capital of France?",
            "alt": "Rome",
            "pred": "Paris",
            "rephrase": "Which city is the capital of France?",
            "loc": "who sang yesterday",
            "loc_ans": "The Beatles",
            "portability": {
                "New Question": "On which river does the capital of France lie?",
                "New Answer": "Tiber",
            },
        },
        "zsre",
    ),
    Shape(
        "edits",
        "KnowEdit, EasyEdit's files, CKnowEdit, FastEdit, and tables and rows of one's own",
        lambda row: True,
        read_fields,
        {
            "prompt": "The capital of {} is",
            "subject": "France",
            "target_new": "Rome",
            "ground_truth": "Paris",
            "rephrase_prompt": ["France has as its capital"],
            "locality": {
                "Neighborhood": [{"prompt": "The capital of Spain is", "ground_truth": "Madrid"}],
                "Open": ["The weather in France is"],
            },
            "portability": {
                "Reasoning": [{"prompt": "The capital of France lies on the", "ground_truth": "Tiber"}]
            },
            "instruction": "Replace a fact that the model knows with a new one.",
        },
    ),
)


@dataclass(frozen=True)
class ReadRow:
    """The records of a row, the name of its shape, the fields that were read and those that were not."""

    records: tuple[Record, ...]
    shape: str
    fields: tuple[str, ...]
    unread: tuple[str, ...]


def read_row(data: Any, where: str, task: str, problems: list[Problem]) -> ReadRow:
    """The row's records, none when it lacks something needed. Appends to `problems`."""
    if not isinstance(data, dict):
        reason = f"found {in_words(data)}, needed an object with a prompt and a target"
        problems.append(Problem(where, "row", reason, refused=True))
        return ReadRow((), "", (), ())
    row = Row(where, data, problems)
    shape = next(shape for shape in SHAPES if shape.fits(row))
    records: tuple[Record, ...] = ()
    try:
        records = tuple(shape.read(row, shape.task or task))
    except Missing as missing:
        row.wrong(missing.field, missing.reason, refused=True)
    except ValueError as error:  # an edit that cannot be one
        row.wrong("row", str(error).rstrip("."), refused=True)
    seen = tuple(str(key) for key in data if key in row.read and data[key] not in ("", None, [], {}))
    return ReadRow(records, shape.name, seen, tuple(row.unread))
