"""`methods`: the page of all methods."""

from pathlib import Path
from typing import Annotated

import typer


def methods(
    results: Annotated[
        Path, typer.Option(help="Folder of the tables that evaluate --csv and compare --csv wrote.")
    ] = Path("docs/results/smollm2"),
) -> None:
    """Print the page of all methods: what each is and what was measured of it. Its figure is drawn in the
    tables' folder.
    """
    from ..experiments.methods_page import document, measured
    from ..experiments.tables import read
    from ..experiments.together_section import FIGURE, figure

    tables = read(results)
    if drawn := figure(measured(tables)):
        (results / FIGURE).write_text(drawn, encoding="utf-8")
    print(document(tables), end="")
