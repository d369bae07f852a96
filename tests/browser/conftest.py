"""A real page in a real Chromium: the app as a subprocess, offline."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

ROOT = Path(__file__).parent.parent.parent
RECORDER = Path(__file__).parent / "recorder.js"
OPENED: list[Page] = []  # for the report of a test that fails
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
MISSING = "No Chromium was found; install Debian's chromium (tests/browser/install.sh does it as root)."


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(
    *options: str, module: str = "app", port: int | None = None, **environment: str
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run a module, app.py or one like it, with these options on a port, a free one where none is given;
    yields its address and its process.
    """
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--port", str(port), "--device", "cpu", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=2,
    )
    try:
        url, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=5).read()
                break
            except OSError:
                time.sleep(0.3)
        else:
            raise RuntimeError("The page did not come up.")
        yield url, process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def serve(*options: str, module: str = "app", port: int | None = None, **environment: str) -> Iterator[str]:
    """The address of a module that runs, as `served` runs it."""
    with served(*options, module=module, port=port, **environment) as (url, _):
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A test that fails reports what its pages asked for, were told, and show."""
    report = yield
    pages = [page for page in OPENED if not page.is_closed()]
    if report.failed and call.when == "call":
        for page in pages:
            with suppress(PlaywrightError):
                asked, shows = page.evaluate("told.join('\\n')"), page.inner_text("body")
                report.sections += [("a page: what it asked and heard", asked), ("and what it shows", shows)]
    OPENED[:] = pages
    return report


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


def open_page(
    browser: Browser,
    url: str,
    width: int = 1440,
    height: int = 1000,
    dark: bool = False,
    requests: list | None = None,
    script: str = "",
    report: Callable[[object], None] | None = None,
) -> Page:
    """A page of the app, ready. `requests` gets the addresses that it asks for; `script` runs before it, and
    what is given to JavaScript's `report` there goes to `report`.
    """
    page = browser.new_page(viewport={"width": width, "height": height})
    if report is not None:
        page.expose_function("report", lambda what: report(what))
    OPENED.append(page)
    page.add_init_script(RECORDER.read_text())
    page.add_init_script(script)
    if requests is not None:
        page.on("request", lambda r: requests.append(r.url))
    page.goto(url + ("?__theme=dark" if dark else "?__theme=light"), wait_until="domcontentloaded")
    page.wait_for_selector("#pair .pair", timeout=60_000)
    page.wait_for_function("document.querySelectorAll('#stack input').length > 0")
    return page


def settled(page: Page) -> None:
    """Wait as long as a person needs to look at a tab or a fold that was just opened: Gradio gives its fields
    their first values some frames later, over what was put there meanwhile.
    """
    page.evaluate("new Promise(ends => requestAnimationFrame(() => requestAnimationFrame(ends)))")
    page.wait_for_timeout(500)


def answer(page: Page, side: str) -> str:
    """What a side says at this moment; `says` waits for it."""
    return re.sub(r"\s+", " ", page.locator(f"#pair .side-{side} .answer").inner_text())


def says(page: Page, side: str, words: str | re.Pattern) -> None:
    """Wait until a side's answer is this: the whole of it, or what a pattern finds in it."""
    expect(page.locator(f"#pair .side-{side} .answer")).to_have_text(words, timeout=20_000)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with serve() as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = open_page(browser, address)
    yield page
    page.close()
