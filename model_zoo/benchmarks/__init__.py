"""Files of records, published ones and people's own: whatever their shape (shapes.py), encoding and format
(files.py).

Tolerant of shapes, strict about what is missing: a row that lacks something needed is skipped and listed with
its field and the reason; an empty probe is left out and listed; a field that nothing reads is listed; nothing
is filled in silently.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..hub import fetch
from ..records import Record
from .files import raw_file
from .rows import Problem, in_one_line, texts_of
from .shapes import SHAPES, Shape, read_row

__all__ = [
    "BENCHMARKS",
    "FILE_TYPES",
    "Benchmark",
    "SHAPES",
    "Loaded",
    "Problem",
    "Shape",
    "TEMPLATE_CSV",
    "read",
    "replies_by_sentiment",
]

KNOWEDIT = "zjunlp/KnowEdit"
FILE_TYPES = (".csv", ".tsv", ".json", ".jsonl", ".txt")  # what people call files of records


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
    """The records of a file, and the file's sha256. `skipped`: what was left out of it, or read otherwise
    than it stands; `rows` in all; `shapes` of them by name, `fields` that were read and those `unread`, each
    with the number of rows; `format`: what the file turned out to be.
    """

    name: str
    sha256: str
    records: tuple[Record, ...]
    skipped: tuple[Problem, ...]
    rows: int = 0
    shapes: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    format: str = ""

    def to_dict(self) -> dict:
        """What was read, for people and machines: no record itself."""
        return {
            "file": self.name,
            "format": self.format,
            "rows": self.rows,
            "edits": len(self.records),
            "shape": dict(self.shapes),
            "fields": dict(self.fields),
            "unread_fields": dict(self.unread),
            "refused": [_told(problem) for problem in self.skipped if problem.refused],
            "left_out": [_told(problem) for problem in self.skipped if not problem.refused],
        }


def _told(problem: Problem) -> dict[str, str]:
    return {"row": problem.row, "field": problem.field, "reason": problem.reason}


def read(source: str | Path, task: str | None = None, most: int | None = None) -> Loaded:
    """Records of a benchmark name (fetched from the Hub), or of a file of JSON, JSON lines or a table.

    `task` labels rows whose shape does not say what they are; default counterfact. With `most` no more rows
    are read. ValueError when nothing can be read.
    """
    if str(source) in BENCHMARKS:
        benchmark = BENCHMARKS[str(source)]
        path, task = _fetched(benchmark), benchmark.task
    else:
        path = Path(source)
        if not path.is_file():
            raise ValueError(
                f"There is no records file {source}; give a .json, .jsonl, .csv or .tsv file, or one of: "
                f"{', '.join(BENCHMARKS)}."
            )
    raw = raw_file(path, most)
    problems = list(raw.problems)
    found = [read_row(data, where, task or "counterfact", problems) for where, data in raw.rows]
    records = tuple(record for row in found for record in row.records)
    if not records:
        first = f" The first problem: {in_one_line(problems[0].in_words)}." if problems else ""
        raise ValueError(
            f"{path.name} holds no record that can be used.{first} A record needs at least a prompt and a "
            "target."
        )
    return Loaded(
        path.name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        records,
        tuple(problems),
        len(raw.rows) + sum(problem.refused for problem in raw.problems),
        Counter(row.shape for row in found if row.shape),
        Counter(name for row in found for name in row.fields),
        Counter(name for row in found for name in row.unread),
        raw.format,
    )


def replies_by_sentiment(path: Path) -> tuple[list[str], list[str]]:
    """All replies of a file of opinions and the sentiment that each voices, "positive" or "negative".

    ValueError where no row has replies of both.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give rows with an entity and replies under pos and neg.")
    texts, sentiments = [], []
    for _, row in raw_file(path).rows:
        for name, sentiment in (("pos", "positive"), ("neg", "negative")):
            own = texts_of(row.get(name)) if isinstance(row, dict) else []
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
