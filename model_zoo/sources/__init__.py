"""Sources of records. One source per file and one line in SOURCES; this module alone knows which one is the
default.
"""

from collections.abc import Sequence
from types import MappingProxyType

from ..backbone import Backbone
from ..registry import find, registered
from .atlas import AtlasSource
from .base import GENERIC, OF_RECORD, Evidence, Neighbours, Source
from .examples import Suggestion
from .facts import FactsSource
from .files import FileSource

__all__ = [
    "GENERIC",
    "OF_RECORD",
    "SOURCES",
    "Evidence",
    "FileSource",
    "Neighbours",
    "Source",
    "Suggestion",
    "default_source",
    "files_by_task",
    "get_source",
    "source_known_to",
]

SOURCES: MappingProxyType[str, Source] = registered("source", (AtlasSource(), FactsSource()))


def get_source(name: str) -> Source:
    """The registered source; ValueError names the known ones."""
    return find("source", SOURCES, name)


def default_source() -> Source:
    """Where records come from when nobody says otherwise."""
    return next(iter(SOURCES.values()))


def source_known_to(backbone: Backbone) -> Source:
    """The source whose facts a base model knows; one that knows nothing where there is none."""
    return next((source for source in SOURCES.values() if source.knows(backbone)), Source())


def files_by_task(given: Sequence[str]) -> dict[str, list[str]]:
    """`task=FILE[,FILE]` as people write it -> files by task. ValueError for anything else."""
    found: dict[str, list[str]] = {}
    for text in given:
        task, equals, files = text.partition("=")
        if not equals or not files.strip():
            raise ValueError(
                f"'{text}' does not say which files hold which task; write task=FILE, or task=FILE,FILE."
            )
        found.setdefault(task.strip(), []).extend(file.strip() for file in files.split(","))
    return found
