"""Real records: KnowEdit, ZsRE with portability, Bi-ZsRE, ConvSent, and people's own files.

Tolerant of the shapes these files have, strict about what is missing: a row that lacks something needed is
skipped and listed with its field and the reason; an empty probe is left out and listed; nothing is filled in
silently.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..hub import fetch
from ..records import Record
from .shapes import Problem, read_row, texts_of

__all__ = ["BENCHMARKS", "Benchmark", "Loaded", "Problem", "TEMPLATE_CSV", "read", "replies_by_sentiment"]

KNOWEDIT = "zjunlp/KnowEdit"


@dataclass(frozen=True)
class Benchmark:
    """A published file: the task its rows are, and where it lies on the Hub."""

    name: str
    task: str
    hub_file: str
    description: str


BENCHMARKS = MappingProxyType(
    {
        b.name: b
        for b in (
            Benchmark(
                "knowedit-counterfact",
                "counterfact",
                "benchmark/wiki_counterfact/test_cf.json",
                "WikiData-counterfact of KnowEdit",
            ),
            Benchmark(
                "knowedit-recent",
                "recent",
                "benchmark/wiki_recent/recent_test.json",
                "WikiData-recent of KnowEdit",
            ),
            Benchmark("knowedit-zsre", "zsre", "benchmark/ZsRE/ZsRE-test-all.json", "ZsRE of KnowEdit"),
            Benchmark(
                "knowedit-wikibio",
                "wikibio",
                "benchmark/WikiBio/wikibio-test-all.json",
                "WikiBio of KnowEdit",
            ),
        )
    }
)

# What an own file may hold. Lists are separated by " | ", a probe's prompt and answer by " => ".
TEMPLATE_CSV = (
    "prompt,target,subject,paraphrases,locality,portability,instruction\n"
    "The capital of France is,Rome,France,What is the capital of France? | France has as its capital,"
    "The capital of Spain is => Madrid,The river in the capital of France is => the Tiber,Replace a fact "
    "that the model knows with a new one.\n"
)


@dataclass(frozen=True)
class Loaded:
    """The records of a file, what was left out of it, and the file's sha256."""

    name: str
    sha256: str
    records: tuple[Record, ...]
    skipped: tuple[Problem, ...]


def read(source: str | Path, task: str | None = None) -> Loaded:
    """Records of a benchmark name (fetched from the Hub), or of a .json, .jsonl or .csv file.

    `task` labels rows whose file does not say what they are; default counterfact. ValueError when nothing can
    be read.
    """
    if str(source) in BENCHMARKS:
        benchmark = BENCHMARKS[str(source)]
        path, task = _fetched(benchmark), benchmark.task
    else:
        path = Path(source)
        if not path.is_file():
            raise ValueError(
                f"There is no records file {source}; give a .json, .jsonl or .csv file, or one of: "
                f"{', '.join(BENCHMARKS)}."
            )
    records: list[Record] = []
    problems: list[Problem] = []
    for row, data in _rows(path):
        for record in read_row(data, row, task or "counterfact", problems):
            records.append(record)
    if not records:
        first = (
            f" The first problem: row {problems[0].row}, {problems[0].field}: {problems[0].reason}."
            if problems
            else ""
        )
        raise ValueError(
            f"{path.name} holds no record that can be used.{first} A record needs at least a prompt and a "
            "target."
        )
    return Loaded(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), tuple(records), tuple(problems))


def replies_by_sentiment(path: Path) -> tuple[list[str], list[str]]:
    """All replies of a file of opinions and the sentiment that each voices, "positive" or "negative".

    ValueError where no row has replies of both.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give rows with an entity and replies under pos and neg.")
    texts, sentiments = [], []
    for _, row in _rows(path):
        for field, sentiment in (("pos", "positive"), ("neg", "negative")):
            own = texts_of(row.get(field)) if isinstance(row, dict) else []
            texts += own
            sentiments += [sentiment] * len(own)
    if len(set(sentiments)) < 2:
        raise ValueError(
            f"{path.name} holds no replies of both sentiments; needed are rows with pos and neg."
        )
    return texts, sentiments


def _fetched(benchmark: Benchmark) -> Path:
    folder = fetch(KNOWEDIT, [benchmark.hub_file], repo_type="dataset").folder
    return folder / benchmark.hub_file


def _rows(path: Path) -> Iterator[tuple[str, dict]]:
    """(where it stands, data) of every row."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        if path.suffix == ".csv":
            yield from (
                (str(i + 1), _unfolded(row))
                for i, row in enumerate(csv.DictReader(io.StringIO(text, newline="")))
            )
        elif path.suffix == ".jsonl":
            yield from (
                (str(i + 1), json.loads(line)) for i, line in enumerate(text.split("\n")) if line.strip()
            )
        else:
            data = json.loads(text)
            if not isinstance(data, dict | list):
                raise ValueError(f"{path.name} holds a {type(data).__name__}; needed is a list of rows.")
            items = data.items() if isinstance(data, dict) else enumerate(data, start=1)
            yield from ((str(key), row) for key, row in items)
    except (json.JSONDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path.name} cannot be read as {path.suffix.removeprefix('.')}: {error}."
        ) from error


def _unfolded(row: dict[str, str | None]) -> dict:
    """A CSV row with its lists taken apart."""
    data: dict[str, Any] = {key: (value or "").strip() for key, value in row.items() if key}
    for key in ("paraphrases", "locality", "portability"):
        parts: list[Any] = [part.strip() for part in data.get(key, "").split(" | ") if part.strip()]
        if key != "paraphrases":
            parts = [
                dict(zip(("prompt", "ground_truth"), (x.strip() for x in part.split("=>", 1))))
                for part in parts
            ]
        data[key] = parts
    return data
