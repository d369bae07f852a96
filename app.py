"""InstructEdit Studio in the browser: `python app.py`, or a Hugging Face Space (which runs this file and
serves `demo`).
"""

import argparse
import os
import sys
from pathlib import Path

from demo import LAUNCH, Settings, build, logins
from model_zoo.catalog import entry_for
from model_zoo.progress import Printed


def parse(arguments: list[str]) -> Settings:
    """Flags; host and port default to Gradio's own environment variables, the port else to the first free one
    from 7860.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    port = os.environ.get("GRADIO_SERVER_PORT")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(port) if port else None)
    parser.add_argument(
        "--model", default="atlas", help="a listed model (atlas, gpt2, ...), a local folder, or a Hub repo id"
    )
    parser.add_argument("--editor", help="a trained editor for that model: a folder or a Hub repo id")
    parser.add_argument("--editors", default="editors", help="the folder for editors that the page trains")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--quantize", default="", help="8bit or 4bit, with bitsandbytes")
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="you have read the terms of use that --model comes with, and accept them",
    )
    parser.add_argument(
        "--demo", action=argparse.BooleanOptionalAction, help="listed models only; on for a Space and --share"
    )
    parser.add_argument("--share", action="store_true", help="open a public Gradio link")
    parser.add_argument(
        "--auth", type=Path, help="who may come in: a file with a line NAME:PASSWORD for each person"
    )
    flags = vars(parser.parse_args(arguments))
    if flags["demo"] is None:
        flags["demo"] = flags["share"] or "SPACE_ID" in os.environ
    return Settings(**flags)


settings, progress = parse(sys.argv[1:] if __name__ == "__main__" else []), Printed()
try:
    if settings.accept_licence and (terms := entry_for(settings.model).terms):
        terms.accept()
    people = logins(settings.auth) if settings.auth else None
    demo = build(settings, progress)
except ValueError as error:
    sys.exit(f"error: {error}")
finally:
    progress.done()

if __name__ == "__main__":
    demo.launch(
        server_name=settings.host, server_port=settings.port, share=settings.share, auth=people, **LAUNCH
    )
