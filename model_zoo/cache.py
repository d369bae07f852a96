"""The folder where what was computed or fetched once is kept. Everything in it can be made again."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """INSTRUCTEDIT_CACHE, else a folder in the user's cache."""
    given = os.environ.get("INSTRUCTEDIT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "instructedit-studio"


def writable_cache(*parts: str) -> Path:
    """A folder in the cache, made where it is missing. ValueError where nothing can be written."""
    folder = cache_folder().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(
            f"Nothing can be written to {folder} ({error.strerror or error}); set INSTRUCTEDIT_CACHE "
            "to a folder of your own."
        ) from error


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `folder` when the block ends well, and is dropped when it does not.

    `folder` lies in the cache. Whoever finishes first wins: it is never half there.
    """
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_room(size: int, what: str) -> None:
    """ValueError where the cache's disk has not `size` bytes free."""
    place = cache_folder()
    while not place.exists():
        place = place.parent
    if (free := shutil.disk_usage(place).free) < size:
        raise ValueError(
            f"{what} needs {size / 1e6:.0f} MB on disk, and {cache_folder()} has {free / 1e6:.0f} MB free; "
            "make room or set INSTRUCTEDIT_CACHE elsewhere."
        )
