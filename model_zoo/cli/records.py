"""`records`: what is read of a file of records, and what can be read."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, emit


def records(
    file: Annotated[
        Path | None, typer.Argument(help="A file of records; none: the page of all shapes that are read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is read of a file: rows, shapes, fields, what is refused and why."""
    from ..benchmarks import read
    from ..benchmarks.page import page

    if file is None:
        print(page(), end="")
        return
    loaded = read(file)
    if as_json:
        emit(loaded.to_dict())
        return
    print(f"{loaded.name}: {loaded.format}; rows: {loaded.rows}, edits: {len(loaded.records)}")
    first = loaded.records[0].request
    print(f"First     {first.prompt}  ->  {first.target}")
    for title, counts in (("Shapes", loaded.shapes), ("Read", loaded.fields), ("Not read", loaded.unread)):
        if counts:
            print(f"{title:<10}{', '.join(f'{name} ({n})' for name, n in counts.items())}")
    for problem in loaded.skipped:
        print(f"{problem.place}, {problem.field}: {problem.reason}")
