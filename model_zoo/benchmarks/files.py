"""A file of records -> its rows as plain data: JSON, JSON lines or a table, told apart by what they hold."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .encodings import binary, decoded
from .rows import FIELDS, Problem, in_one_line, in_words
from .tables import table

# a key with all rows under it, and those of a file that holds several such
WRAPPERS = ("data", "records", "edits", "rows", "examples", "requests")
SPLITS = ("train", "validation", "valid", "dev", "test")


@dataclass(frozen=True)
class RawFile:
    """(where it stands, data) of every row; what the file turned out to be, in words; lines that are none."""

    rows: tuple[tuple[str, Any], ...]
    format: str
    problems: tuple[Problem, ...] = ()


def raw_file(path: Path, most: int | None = None) -> RawFile:
    """The rows of a file, or the first `most` of them. ValueError where it is neither JSON nor a table."""
    data = path.read_bytes()
    if what := binary(data):
        raise ValueError(f"{path.name} is {what} and no text; records come as CSV, JSON or JSON lines.")
    text, encoding = decoded(data)
    if not text.strip("\ufeff \r\n\t"):
        raise ValueError(f"{path.name} is empty.")
    begins_json = text.lstrip("\ufeff \r\n\t")[:1] in ("{", "[")
    if begins_json or path.suffix in (".json", ".jsonl"):
        found = _json(path, text, most)
    else:
        found = _table(path, text, most)
    if most is not None and len(found.rows) > most:
        beyond = f"the file has more than {most} rows; those behind them are not read"
        problem = Problem("file", "rows", beyond)
        found = replace(found, rows=found.rows[:most], problems=(*found.problems, problem))
    if not encoding:
        return found
    rows, problems = [], [*found.problems]
    for where, data in found.rows:
        if "\ufffd" in json.dumps(data, ensure_ascii=False):
            problems.append(Problem(where, "row", "it holds bytes that are no text", refused=True))
        else:
            rows.append((where, data))
    return RawFile(tuple(rows), f"{found.format}, read as {encoding}", tuple(problems))


# ---- JSON --------------------------------------------------------------------------------------------------


def _loads(text: str) -> Any:
    """JSON as it stands, NaN being null. ValueError too where an object gives one key two values."""
    return json.loads(text, parse_constant=lambda _: None, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"an object has the key '{key}' twice, with different values")
        found[key] = value
    return found


def _json(path: Path, text: str, most: int | None) -> RawFile:
    try:
        data = _loads(text)
    except RecursionError as error:
        raise ValueError(
            f"{path.name} holds lists within lists without end; needed is a list of rows."
        ) from error
    except ValueError as error:
        lines = [(str(i), line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) > 1 and (_is_object(lines[0][1]) or _is_object(lines[1][1])):
            return _json_lines(lines[: None if most is None else most + 1])
        raise ValueError(f"{path.name} cannot be read as JSON: {_why(error, text)}.") from error
    if isinstance(data, dict):
        return _of_object(path, data)
    if not isinstance(data, list):
        raise ValueError(f"{path.name} holds {in_words(data)}; needed is a list of rows.")
    return RawFile(tuple((str(i), _unwrapped(row)) for i, row in enumerate(data, start=1)), "JSON")


def _why(error: ValueError, text: str) -> str:
    """What is wrong with a text that is no JSON, and the usual remedy."""
    if not isinstance(error, json.JSONDecodeError):
        return in_one_line(str(error))
    before, behind = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    where = f"line {error.lineno}, column {error.colno}"
    if before[-1:] == "," and behind[:1] in ("}", "]"):
        return f"a comma before the closing bracket at {where}"
    if behind[:1] == "'":
        return f"single quotes at {where}; JSON has double ones"
    if error.msg == "Extra data" and behind[:1] in ("{", ","):
        return f"another object begins at {where}; put all into one list, or each on a line of its own"
    return f"{error.msg} at {where}"


def _line(text: str) -> Any:
    """A line's JSON, with or without a comma behind it."""
    return _loads(text.strip().removeprefix("\ufeff").rstrip(","))


def _is_object(line: str) -> bool:
    try:
        return isinstance(_line(line), dict)
    except ValueError:
        return False


def _json_lines(lines: list[tuple[str, str]]) -> RawFile:
    rows, problems = [], []
    for where, line in lines:
        if line.lstrip().startswith(("//", "#")):  # a remark
            continue
        try:
            rows.append((where, _unwrapped(_line(line))))
        except ValueError as error:
            why = re.sub(r" at line 1, column", " at column", _why(error, line))
            problems.append(Problem(where, "row", f"the line is no JSON: {why}", refused=True))
    return RawFile(tuple(rows), "JSON lines", tuple(problems))


def _unwrapped(row: Any) -> Any:
    """A row as dataset viewers give it: under `row`, its number beside it."""
    return row["row"] if isinstance(row, dict) and isinstance(row.get("row"), dict) else row


def _of_object(path: Path, data: dict) -> RawFile:
    """One object: the rows under one of its keys, columns of rows, rows by name, or itself a row. ValueError
    where it holds several lists of rows.
    """
    lists = [key for key in (*WRAPPERS, *SPLITS) if _is_rows(data.get(key))]
    if lists and not any(name in data for name in FIELDS["prompt"]):
        if len(lists) > 1:
            raise ValueError(
                f"{path.name} holds several lists of rows: {', '.join(lists)}; give a file with one of them."
            )
        rows = tuple((str(i), _unwrapped(row)) for i, row in enumerate(data[lists[0]], start=1))
        beside = tuple(
            Problem("file", str(key), "beside the rows; not read") for key in data if key not in lists
        )
        return RawFile(rows, "JSON", beside)
    if (columns := _of_columns(data)) is not None:
        return RawFile(tuple(columns), "JSON, column by column")
    if data and all(isinstance(row, dict) for row in data.values()):
        return RawFile(tuple((str(name), row) for name, row in data.items()), "JSON")
    return RawFile((("1", data),), "JSON")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _of_columns(data: dict) -> Iterator[tuple[str, dict]] | None:
    """Rows of {field: {row: value}}, as data frames are written; None where it is something else."""
    columns = list(data.values())
    if not any(name in data for name in FIELDS["prompt"]) or not all(isinstance(c, dict) for c in columns):
        return None
    return ((str(row), {name: column.get(row) for name, column in data.items()}) for row in columns[0])


# ---- tables ------------------------------------------------------------------------------------------------


def _table(path: Path, text: str, most: int | None) -> RawFile:
    try:
        rows, wrong, delimiter = table(text, None if most is None else most + 1)
    except csv.Error as error:
        raise ValueError(f"{path.name} cannot be read as a table: {error}.") from error
    if not rows and not wrong:
        raise ValueError(f"{path.name} has a header and no rows.")
    problems = (Problem(where, missing.field, missing.reason, refused=True) for where, missing in wrong)
    return RawFile(tuple(rows), f"a table separated by {delimiter}", tuple(problems))
