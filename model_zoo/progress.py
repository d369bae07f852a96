"""Telling how far a long piece of work is."""

from collections.abc import Callable

# told in a few words what is being done; it may raise to stop the work
Progress = Callable[[str], None]


def no_progress(text: str) -> None:
    """Tell nobody."""
