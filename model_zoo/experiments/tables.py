"""What the pages about methods share: the tables that commands wrote as CSV, and how their cells are told."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..methods import METHODS

Rows = Sequence[Mapping[str, str]]


def read(folder: Path) -> dict[str, Rows]:
    """{file name: rows} of the tables in a folder."""
    found: dict[str, Rows] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.name] = list(csv.DictReader(file))
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, as the methods are registered; what is no method (the base itself) first."""
    known = list(METHODS)
    return sorted(set(names), key=lambda name: known.index(name) if name in known else -1)


def methods_of(rows: Rows) -> list[str]:
    """The methods that rows are of, in order."""
    return in_order(row["method"] for row in rows)


def titled(name: str) -> str:
    return METHODS[name].pretty_name if name in METHODS else "no edit"


def percent(row: Mapping[str, str] | None) -> str:
    """A mean with its interval; nothing where there is none."""
    if row is None:
        return ""
    mean, low, high = (float(row[key]) for key in ("mean", "low", "high"))
    return f"{mean:.0%} [{low:.0%}, {high:.0%}]"
