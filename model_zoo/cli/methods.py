"""`methods`: the page of all methods."""

from pathlib import Path
from typing import Annotated

import typer


def methods(
    results: Annotated[
        Path, typer.Option(help="Folder of the tables that evaluate --csv and compare --csv wrote.")
    ] = Path("docs/results/smollm2"),
) -> None:
    """Print the page of all methods: what each is and what was measured of it."""
    from ..experiments.methods_page import document, read

    print(document(read(results)), end="")
