"""Models that must be fetched: what the list says, the terms, the progress, Stop, and a closed tab."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo.runtime import Runtime
from demo.settings import Settings
from demo.visitor import ModelChoice

from .conftest import ROOT, says, serve
from .test_page import SECOND, apply_edit, choose_model
from .wheel_server import Index

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    return Index(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def address(index: Index, cache: Path):
    with serve(
        module="tests.browser.app_with_pico", INSTRUCTEDIT_CACHE=str(cache), **index.environment
    ) as url:
        yield url


def choose(page: Page, label: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option", name=label, exact=True).click()


def empty(folder: Path) -> bool:
    """Whether nothing of a download is left, soon."""
    deadline = time.monotonic() + 10
    while (left := list(folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left


def test_stop_ends_a_download_and_leaves_nothing(page: Page, index: Index, cache: Path):
    index.slow = True
    choose(page, "Pico · 4 MB to fetch")
    expect(page.locator("#loading")).to_contain_text(
        re.compile(r"Fetching pico: [1-9].* of 4 MB"), timeout=120 * SECOND
    )
    assert list(cache.iterdir())
    page.locator("#stop-loading").click()
    expect(page.locator("#loading")).to_contain_text("everything is as it was", timeout=20 * SECOND)
    assert empty(cache)
    expect(page.locator("#verdicts .score").first).to_be_visible()


def test_a_closed_tab_ends_it_too(page: Page, index: Index, cache: Path):
    index.slow = True
    choose(page, "Pico · 4 MB to fetch")
    expect(page.locator("#loading")).to_contain_text(
        re.compile(r"Fetching pico: [1-9].* of 4 MB"), timeout=120 * SECOND
    )
    page.close()
    assert empty(cache)


def test_terms_come_before_the_download(page: Page, index: Index, cache: Path):
    index.slow, before = False, index.downloads
    choose(page, "Pico with terms · 4 MB to fetch")
    link = page.locator("#terms a")
    expect(link).to_have_text("Pico <b>Terms</b>", timeout=20 * SECOND)
    assert [link.get_attribute(name) for name in ("href", "target", "rel")] == [
        "http://127.0.0.1/terms",
        "_blank",
        "noopener",
    ]
    page.locator("#apply").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("waits for its terms", timeout=20 * SECOND)
    page.locator("#ask-button").click()
    expect(page.locator("#answer")).to_contain_text("Madrid", timeout=20 * SECOND)  # the page is on the atlas
    says(page, "after", "Rome.")
    assert index.downloads == before and not list(cache.iterdir())
    page.get_by_label("I have read and accept the Pico <b>Terms</b>").click()
    expect(page.locator("#verdicts")).to_contain_text("pico-terms is ready", timeout=60 * SECOND)
    expect(page.locator("#terms")).to_have_count(0)
    assert index.downloads == before + 1 and (cache / "accepted-terms").is_dir()


def test_what_was_fetched_is_not_offered_as_to_be_fetched_any_more(page: Page, index: Index):
    downloads = index.downloads
    choose(page, "Pico")  # the same file as the one with terms
    expect(page.locator("#verdicts")).to_contain_text("pico is ready", timeout=60 * SECOND)
    expect(page.locator("#model input")).to_have_value("Pico")
    apply_edit(page, "One two three", "four")
    assert index.downloads == downloads


def test_a_gguf_file_is_typed(page: Page, index: Index):
    choose_model(page, str(index.gguf))
    apply_edit(page, "One two three", "four")
    expect(page.locator("#changes")).to_contain_text("FT-L")


def test_the_other_tabs_say_what_they_can_show_on_it(page: Page):
    choose(page, "Pico")
    expect(page.locator("#verdicts")).to_contain_text("pico is ready", timeout=60 * SECOND)
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    expect(page.locator("#evaluate-about")).to_contain_text("A file of your own", timeout=20 * SECOND)
    page.get_by_role("tab", name="Directions", exact=True).click()
    expect(page.locator("#direction-words")).to_contain_text("was not taught", timeout=120 * SECOND)
    page.get_by_role("tab", name="Scope", exact=True).click()
    expect(page.locator("#scope-note")).to_contain_text("pico has neither; atlas", timeout=20 * SECOND)
    expect(page.locator("#scope-frame")).to_have_count(0)
    page.locator("#scope-leave").click()
    expect(page.locator("#reach-right")).to_contain_text("Everything else", timeout=60 * SECOND)
    expect(page.locator("#scope-note")).to_have_text("")
    page.get_by_role("tab", name="Edit", exact=True).click()
    expect(page.locator("#model input")).to_have_value("atlas (5M, offline)")


def test_a_public_demo_accepts_no_terms(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="a visitor cannot accept .*--accept-licence"):
        list(Runtime(Settings(device="cpu", demo=True)).opening(ModelChoice("gemma3-270m")))
    assert not list(tmp_path.iterdir())


def test_the_app_ends_with_a_sentence_where_terms_are_not_accepted(tmp_path):
    done = subprocess.run(
        [sys.executable, "app.py", "--model", "gemma3-270m", "--device", "cpu"],
        cwd=ROOT,
        env={"PATH": "", "INSTRUCTEDIT_CACHE": str(tmp_path), "GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "comes under the Gemma Terms of Use" in done.stderr.splitlines()[-1]
