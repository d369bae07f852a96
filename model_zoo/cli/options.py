"""Options that several commands share, and how results are printed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str,
    typer.Option(
        help="A listed name (atlas, gpt2, ...), a local folder, or a Hub repo id, pinned by @revision."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Quantize = Annotated[str, typer.Option(help="8bit or 4bit: load the base model so, with bitsandbytes.")]
Editor = Annotated[
    str | None, typer.Option(help="A trained editor (folder or Hub repo id), instead of the model's own.")
]
Data = Annotated[
    list[str] | None, typer.Option(help="TASK=FILE[,FILE]: train on these records; may be repeated.")
]
Test = Annotated[
    list[str] | None,
    typer.Option(help="TASK=FILE[,FILE]: test on these; their subjects are kept out of training."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE: a hyperparameter of the method; may be repeated."),
]
Text = Annotated[
    Path | None,
    typer.Option(
        "--text",
        help="Running text over which ROME and its kind take their statistics of keys; default: what the "
        "model writes itself.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def emit(data: dict | list, path: Path | None = None) -> None:
    """JSON to a file, else to stdout."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


def run_of(backbone: Any, **settings: Any) -> dict[str, Any]:
    """What every row of a table says of its run: its settings, the versions, the device."""
    from ..evaluation.run import versions

    made = versions(backbone)
    return settings | {name: made[name] for name in ("torch", "transformers", "device")}


def method_names(text: str) -> list[str]:
    """Methods by their names, separated by commas. ValueError for one that there is not."""
    from ..methods import get_method

    return [get_method(name.strip()).name for name in text.split(",")]


def by_method(values: dict[str, str], methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """`name` or `method.name` -> values by method; a bare name is the only method's. ValueError where that is
    not clear.
    """
    found: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        method, dot, name = key.rpartition(".")
        if not dot and len(methods) != 1:
            raise ValueError(f"'{key}' could be any of {', '.join(methods)}; write METHOD.{key}=VALUE.")
        found.setdefault(method or methods[0], {})[name] = value
    return found
