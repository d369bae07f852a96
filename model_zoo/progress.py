"""Telling how far a long piece of work is."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

# told in a few words what is being done, "" once it is; it may raise to stop the work
Progress = Callable[[str], None]
SECONDS = 3.0  # between two lines that differ in their numbers only


def no_progress(text: str) -> None:
    """Tell nobody."""


class Printed:
    """A progress that prints. On a terminal each text takes the place of the one before; in a file it has a
    line, and numbers that only grew have one every few seconds.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stderr
        self._said, self._at = "", 0.0

    def __call__(self, text: str) -> None:
        if not text:
            self.done()
            return
        same = text.partition(":")[0] == self._said.partition(":")[0]
        if text == self._said or (
            same and not self.stream.isatty() and time.monotonic() - self._at < SECONDS
        ):
            return
        self._said, self._at = text, time.monotonic()
        print(
            f"\r\033[K{text}" if self.stream.isatty() else f"{text}\n", end="", file=self.stream, flush=True
        )

    def done(self) -> None:
        """Clear the terminal's line."""
        if self._said and self.stream.isatty():
            print("\r\033[K", end="", file=self.stream, flush=True)
        self._said = ""


def readable(size: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def duration(seconds: float) -> str:
    """How long something takes, as people say it."""
    if seconds < 1.5:
        return "a second" if seconds >= 0.5 else "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
