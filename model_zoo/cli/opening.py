"""A studio for a command."""

from pathlib import Path

from ..loading import LoadOptions
from ..progress import Printed
from ..statistics import passages_of
from ..studio import Studio


def opened(model: str, options: LoadOptions, editor: str | None = None, text: Path | None = None) -> Studio:
    """A studio whose methods say on stderr what takes a while, and take their statistics over `text`."""
    passages = passages_of(text) if text else ()  # refused before a model is loaded
    studio = Studio.open(model, options, editor)
    studio.progress, studio.text = Printed(), passages
    return studio
