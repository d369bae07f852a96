"""`soak`: a crowd of clients on this machine against the page."""

from pathlib import Path
from typing import Annotated

import typer


def soak(
    clients: Annotated[int, typer.Option("--clients", min=1, max=500, help="How many at once.")] = 100,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, max=60, help="How long, after a warm-up.")
    ] = 10.0,
    model: Annotated[str, typer.Option("--model", help="The base model that they edit.")] = "atlas",
    url: Annotated[str, typer.Option("--url", help="A page on this machine; else one is started.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the clients' edits and actions.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Let a crowd edit, ask, undo, cancel and leave, and check that nobody sees another's edit, everybody is
    answered, the weights stay and the memory does not grow; exit code 1 where that does not hold.
    """
    import json

    from ..catalog import entry_for
    from ..progress import Printed
    from ..soaking import Crowd, served_here, summed_up
    from ..sources import default_source, get_source
    from ..tasks import TASKS

    entry, progress = entry_for(model), Printed()
    source = get_source(entry.knows) if entry.knows else default_source()
    with served_here(url, model) as server:
        before = server.health()
        crowd = Crowd(server, clients, model, next(iter(TASKS)), source, seed)
        load = crowd.run(minutes * 60, progress)
        progress.done()
        figures = summed_up(server, crowd, load, before, minutes)
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(text + "\n")
    print(text)
    if figures["failed"]:
        raise ValueError("The page did not stand the crowd: " + "; ".join(figures["failed"]) + ".")
