"""What a training will take and what it has learned, as HTML. Everything that a person wrote is escaped."""

import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path

from model_zoo.editors import use_command


def estimated(figures: Mapping[str, str]) -> str:
    """What a training will take, figure by figure."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(figure)}</dd>" for name, figure in figures.items())
    return f'<dl class="takes">{rows}</dl>'


def finished(folder: Path, model: str) -> str:
    """Where the editor lies, and the commands that use it and publish it."""
    push = f"python -m model_zoo push {shlex.quote(str(folder))} YOU/{folder.name}"
    commands = (use_command(folder, model), push)
    lines = "".join(f"<pre>{escape(command)}</pre>" for command in commands)
    return (
        f'<div class="trained"><p>The editor lies in <b>{escape(str(folder))}</b>. From the command line it '
        f"is used, and published on the Hub, by</p>{lines}</div>"
    )


def pushed(url: str) -> str:
    """Where a published editor is found."""
    link = escape(url, quote=True)
    return f'<p class="note">Published: <a href="{link}" target="_blank" rel="noopener">{link}</a></p>'
