"""A table of text -> rows as plain data: any common delimiter, a header, lists and objects in cells."""

import csv
import io
import json
import re
from itertools import islice
from typing import Any

from .rows import FIELDS, LISTED, Missing, field_name, known_fields

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NEEDED = FIELDS["prompt"] + FIELDS["target"]
_HINT = re.compile(r"^\ufeff?sep=(.)\s*$")  # Excel's first line
_RULE = re.compile(r"^:?-+:?$")  # the line under a header in Markdown


def table(text: str, most: int | None = None) -> tuple[list[tuple[str, Any]], list[tuple[str, Missing]], str]:
    """((where, row) of every row, those that cannot be read, the delimiter in words); with `most` no more
    rows are read. csv.Error where it is no table.
    """
    lines = text.splitlines(keepends=True)
    hint = _HINT.match(lines[0]) if lines else None
    if hint:
        text = "".join(lines[1:])
    first = next((line for line in lines[bool(hint) :] if line.strip()), "")
    delimiter = hint.group(1) if hint else max(DELIMITERS, key=lambda mark: _header_worth(first, mark))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    cells = ([cell.strip() for cell in line] for line in reader)
    lines_with_cells = (line for line in cells if any(line) and not all(_RULE.match(c) for c in line if c))
    full = list(islice(lines_with_cells, None if most is None else most + 1))  # and the header
    if not full:
        return [], [], _named(delimiter)
    header = [field_name(name) for name in full[0]]
    while header and not header[-1]:  # bars at the end of each line
        header.pop()
    rows, problems = [], []
    for i, line in enumerate(full[1:], start=1):
        try:
            rows.append((str(i), _row(header, line)))
        except Missing as missing:
            problems.append((str(i), missing))
    return rows, problems, _named(delimiter)


def _named(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, f"'{delimiter}'")


def _header_worth(line: str, mark: str) -> tuple[int, int]:
    """How many of a header's names are known if `mark` separates them, and how many names there are."""
    names = [field_name(name) for name in line.split(mark)]
    return sum(name in known_fields() for name in names), len(names)


def _row(header: list[str], line: list[str]) -> dict[str, Any]:
    """The cells that hold something, by name, and an empty one for a prompt or target. Missing where they do
    not fit the header.
    """
    if any(line[len(header) :]):
        raise Missing(
            "row",
            f"{len(line)} cells under {len(header)} names; a cell with the delimiter in it needs quotes",
        )
    found: dict[str, list[str]] = {}
    for name, cell in zip(header, line):
        if cell or name in NEEDED:
            found.setdefault(name or "(a column without a name)", []).append(cell)
    return {name: _of_columns(name, cells) for name, cells in found.items()}


def _of_columns(name: str, cells: list[str]) -> Any:
    """The value of a name; where several columns have it, lists go together and answers must agree."""
    different = list(dict.fromkeys(cell for cell in cells if cell))
    if len(different) < 2:
        return _cell("".join(different))
    if name in LISTED:
        return " | ".join(different)
    if name in NEEDED:
        raise Missing(name, f"several columns have this name and differ: {', '.join(different)}")
    return different


def _cell(text: str) -> Any:
    """A cell: JSON where it is a list or an object, else text."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    return text
