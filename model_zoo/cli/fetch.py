"""`fetch`: bring a listed model's weights here ahead of time."""

from typing import Annotated

import typer


def fetch(
    model: Annotated[str, typer.Argument(help="A listed name (smollm2, gemma3-270m, ...) or a Hub repo id.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the model's terms of use and accept them.")
    ] = False,
) -> None:
    """Fetch a base model and convert it, so that it opens without a network; prints the folder."""
    import sys

    from .. import catalog
    from ..loading import LoadOptions
    from ..progress import Printed

    progress = Printed()
    if terms := catalog.entry_for(model).terms:
        text = terms.text(progress)
        progress.done()
        print(f"{terms.title}: {terms.url}\nFull text: {text}", file=sys.stderr)
        if accept_licence:
            terms.accept()
    backbone = catalog.load_backbone(model, LoadOptions("cpu"), progress)
    progress.done()
    print(backbone.origin.folder if backbone.origin else model)
