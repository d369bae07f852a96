"""The folder where what was computed or fetched once is kept. Everything in it can be made again."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .progress import readable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEFT_SECONDS = 3600.0  # a half-made folder that nobody wrote to for so long was left behind


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
    for left in folder.parent.glob(f"{folder.name}.part-*"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
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


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk has no more room."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    code = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, SafetensorError) else None
    return code is not None and int(code[1]) in _FULL


def check_room(
    size: int,
    what: str,
    place: Path | None = None,
    setting: str = "INSTRUCTEDIT_CACHE",
    error: type[ValueError] = ValueError,
) -> None:
    """Raise `error` where the disk of `place`, the cache if none is given, has fewer than `size` bytes free.
    `setting` is the variable that says where it lies.
    """
    place = place or cache_folder()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < size:
        raise error(
            f"{what} needs {readable(size)} on disk, and {place} has {readable(free)} free; make room or set "
            f"{setting} elsewhere."
        )


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
