"""Options that several commands share, and how results are printed."""

import json
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="A listed name (atlas, gpt2, ...), a local folder, or a Hub repo id, pinned by @revision.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Quantize = Annotated[str, typer.Option(help="8bit or 4bit: load the base model so, with bitsandbytes.")]
Editor = Annotated[str | None, typer.Option(help="A trained editor (folder or Hub repo id), instead of the model's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def emit(data: dict | list, path: Path | None = None) -> None:
    """JSON to a file, else to stdout."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
