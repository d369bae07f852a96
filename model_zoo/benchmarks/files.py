"""A file of records -> its rows as plain data: JSON, JSON lines or a table, told apart by what they hold."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .rows import Problem, field_name, known_fields

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
WRAPPERS = ("data", "records", "edits", "rows", "examples", "requests")  # one key with all rows under it
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class RawFile:
    """(where it stands, data) of every row; what the file turned out to be, in words; lines that are none."""

    rows: tuple[tuple[str, Any], ...]
    format: str
    problems: tuple[Problem, ...] = ()


def raw_file(path: Path) -> RawFile:
    """The rows of a file. ValueError where it is neither JSON nor a table."""
    text, encoding = _decoded(path.read_bytes())
    told = "" if encoding == "utf-8" else f", read as {encoding}"
    begins_json = text.lstrip()[:1] in ("{", "[")
    if begins_json or path.suffix in (".json", ".jsonl"):
        found = _json(path, text)
    else:
        found = _table(path, text)
    return RawFile(found.rows, found.format + told, found.problems)


def _decoded(data: bytes) -> tuple[str, str]:
    """The text and its encoding: UTF-8, UTF-16 with its mark, else Chinese or Western, whichever it looks
    like.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16"), "UTF-16"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gb18030")
        odd = [c for c in text if ord(c) > 127]
        if len(odd) > 1 and sum(bool(_CHINESE.match(c)) for c in odd) > len(odd) / 2:
            return text, "GB18030"
    except UnicodeDecodeError:
        pass
    return data.decode("cp1252", errors="replace"), "Windows-1252"


def _json(path: Path, text: str) -> RawFile:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(str(i), line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) > 1 and (_is_object(lines[0][1]) or _is_object(lines[1][1])):
            return _json_lines(lines)
        raise ValueError(f"{path.name} cannot be read as JSON: {error}.") from error
    if isinstance(data, dict):
        return RawFile(tuple(_of_object(data)), "JSON")
    if not isinstance(data, list):
        raise ValueError(f"{path.name} holds a {type(data).__name__}; needed is a list of rows.")
    return RawFile(tuple((str(i), row) for i, row in enumerate(data, start=1)), "JSON")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _json_lines(lines: list[tuple[str, str]]) -> RawFile:
    rows, problems = [], []
    for where, line in lines:
        try:
            rows.append((where, json.loads(line)))
        except json.JSONDecodeError as error:
            problems.append(Problem(where, "row", f"the line is no JSON: {error}", refused=True))
    return RawFile(tuple(rows), "JSON lines", tuple(problems))


def _of_object(data: dict) -> Iterator[tuple[str, Any]]:
    """One object: the rows under its one key, rows by name, or itself a row."""
    if len(data) == 1 and (key := next(iter(data))) in WRAPPERS and isinstance(data[key], list):
        yield from ((str(i), row) for i, row in enumerate(data[key], start=1))
    elif data and all(isinstance(row, dict) for row in data.values()):
        yield from data.items()
    else:
        yield "1", data


def _table(path: Path, text: str) -> RawFile:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda mark: _header_worth(first, mark))
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        rows = [
            {field_name(key): (value or "").strip() for key, value in row.items() if isinstance(key, str)}
            for row in reader
        ]
    except csv.Error as error:
        raise ValueError(f"{path.name} cannot be read as a table: {error}.") from error
    unfolded = tuple((str(i), {k: _cell(v) for k, v in row.items()}) for i, row in enumerate(rows, start=1))
    return RawFile(unfolded, f"a table separated by {DELIMITERS[delimiter]}")


def _header_worth(line: str, mark: str) -> tuple[int, int]:
    """How many of a header's names are known if `mark` separates them, and how many names there are."""
    names = [field_name(name) for name in line.split(mark)]
    return sum(name in known_fields() for name in names), len(names)


def _cell(text: str) -> Any:
    """A cell: JSON where it is a list or an object, else text."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    return text
