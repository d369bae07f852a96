"""`sentiment`: fit what tells positive from negative replies."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def sentiment(
    data: Annotated[Path, typer.Option(help="Records of opinions with replies of both sentiments.")],
    test: Annotated[Path, typer.Option(help="The same about other topics, to measure on.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the weights go; by default the accuracy is only printed.")
    ] = None,
) -> None:
    """Fit the classifier by which opinions in any words are judged, and print its accuracy on replies held
    out.
    """
    from dataclasses import replace

    from ..benchmarks import replies_by_sentiment
    from ..evaluation.sentiment import fit

    train, held_out = replies_by_sentiment(data), replies_by_sentiment(test)
    about: dict[str, float | int | str] = {"data": data.name, "replies": len(train[0]), "test": test.name}
    found = fit(*train, about)
    accuracy, decided = found.accuracy(*held_out)
    print(
        f"accuracy {accuracy:.1%} on {len(held_out[0])} replies held out ({decided:.1%} given a sentiment), "
        f"{len(found.weights)} terms",
        file=sys.stderr,
    )
    if out:
        measured = {
            "test_replies": len(held_out[0]),
            "accuracy": round(accuracy, 4),
            "decided": round(decided, 4),
        }
        replace(found, about=about | measured).save(out)
