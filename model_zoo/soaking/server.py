"""The page that a crowd visits: one that runs on this machine already, or one started for it."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

STARTING = 300.0  # seconds that a page has to come up


@dataclass(frozen=True)
class Server:
    """A page at `url`; `log` and `process` where it was started here."""

    url: str
    log: Path | None = None
    process: subprocess.Popen | None = None

    @property
    def alive(self) -> bool:
        return self.process is None or self.process.poll() is None

    @property
    def tracebacks(self) -> int:
        """Errors that nobody caught, as its log tells."""
        return self.log.read_text(errors="replace").count("Traceback") if self.log else 0

    def health(self) -> dict[str, Any]:
        """What it says of itself, in numbers. OSError where it does not answer."""
        try:
            answer = httpx.get(f"{self.url}/health", timeout=60)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise OSError(f"{self.url}/health does not answer as a page of this project: {error}") from error


@contextlib.contextmanager
def served_here(url: str, model: str) -> Iterator[Server]:
    """The page at `url`, which must be on this machine; without one, `python app.py --demo` is started."""
    if url:
        if urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(
                f"A crowd is sent to this machine only, not to {url}; give http://127.0.0.1:PORT."
            )
        server = Server(url.rstrip("/"))
        server.health()
        yield server
        return
    if not Path("app.py").exists():
        raise ValueError("There is no app.py in this folder; start in the project's own, or give --url.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--model", model, "--host", "127.0.0.1", "--port", str(port), "--demo"]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        log = Path(folder) / "server.log"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "app.py", *flags], stdout=out, stderr=out)
        server = Server(f"http://127.0.0.1:{port}", log, process)
        try:
            _wait(server)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _wait(server: Server) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and server.alive:
        with contextlib.suppress(OSError):
            server.health()
            return
        time.sleep(0.5)
    log = server.log.read_text(errors="replace") if server.log else ""
    raise ValueError(f"The page did not start. Its last words: {log[-500:]}")
