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

    said = ""

    def progress(text: str) -> None:
        nonlocal said
        if text != said:
            said = text
            print(text, file=sys.stderr, end="\033[K\r" if sys.stderr.isatty() else "\n")

    if terms := catalog.entry_for(model).terms:
        print(f"{terms.title}: {terms.url}\nFull text: {terms.text(progress)}", file=sys.stderr)
        if accept_licence:
            terms.accept()
    backbone = catalog.load_backbone(model, LoadOptions("cpu"), progress)
    print(backbone.origin.folder if backbone.origin else model)
