"""Hostile texts in the page, from visitors, files and a model: shown as they are, never run, and every
refusal is a sentence.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from ..makers import pico_backbone, save_model
from .conftest import open_page, says, settled
from .test_page import SECOND, apply_edit, choose_model

pytestmark = pytest.mark.browser

IMAGE = "<img src=x onerror=report(1)>"
LINK = "![x](x) [x](javascript:report(1))"
HOSTILE = (
    f'</textarea></option>"\' onmouseover="report(1)" x=\'><script>report(1)</script>{IMAGE}'
    f"<svg onload=report(1)><b class=hostile>{LINK}{{{{7*7}}}}${{7*7}} \u202egnidaer \u2066fo redro "
    f"{'w' * 300}"
)
# every element that ever stands in the page is looked at, those of toasts that go again included
WATCH = """
    const foreign = '[onerror], [onload], [onmouseover], [src="x"], .hostile, [href^="javascript:"]';
    new MutationObserver(changes => {
        for (const change of changes) for (const node of change.addedNodes)
            if (node.querySelectorAll && (node.matches(foreign) || node.querySelector(foreign)))
                report(node.outerHTML.slice(0, 300));
    }).observe(document, {childList: true, subtree: true});
"""
FIELDS = "textarea:visible:enabled, input:is([type=text], [type=search], :not([type])):visible:enabled"


@pytest.fixture(scope="module")
def reports(browser: Browser, address: str) -> Iterator[tuple[Page, list]]:
    """One page for all these tests, and what ran or stood in it that should not have."""
    found: list = []
    page = open_page(browser, address, report=found.append, script=WATCH)
    page.on("dialog", lambda dialog: (found.append(dialog.message), dialog.dismiss()))
    page.evaluate("text => document.body.insertAdjacentHTML('beforeend', text)", IMAGE)
    for _ in range(100):  # the picture that is not there says so in its own time
        if len(found) == 2:
            break
        page.wait_for_timeout(100)
    assert len(found) == 2, "whoever watches would miss it"
    page.evaluate("document.querySelector('[src=x]').remove()")
    found.clear()
    yield page, found
    page.close()


@pytest.fixture
def watched(reports: tuple[Page, list]) -> Iterator[Page]:
    page, found = reports
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert found == []


def opened(page: Page, name: str) -> None:
    """A tab with all that is folded in it open."""
    page.get_by_role("tab", name=name, exact=True).first.click()
    folded = page.locator("button.label-wrap:visible:not(.open)")
    while folded.count():
        folded.first.click()
    settled(page)


def anew(page: Page) -> None:
    """The page as whoever comes finds it: no field keeps what was typed."""
    page.reload(wait_until="domcontentloaded")
    expect(page.locator("#stack input")).to_have_count(1, timeout=60 * SECOND)


def typed(field: Locator, text: str) -> None:
    field.fill(text)
    field.press("Tab")


def told(page: Page, sentence: str) -> None:
    """The page refuses in a sentence with these words."""
    expect(page.get_by_test_id("toast-body").filter(has_text=sentence).first).to_be_visible(
        timeout=60 * SECOND
    )


def test_a_hostile_text_in_every_field_is_text(watched: Page):
    filled, names = 0, watched.locator("#tabs > .tab-wrapper [role=tab]").all_inner_texts()
    # opening Directions would compute a map, and its only field offers a list
    for name in [name.strip() for name in names if name.strip() != "Directions"]:
        opened(watched, name)
        for field in watched.locator(FIELDS).all():
            typed(field, HOSTILE)
            filled += 1
    assert filled >= 12
    opened(watched, "Edit")
    expect(watched.locator("#loading")).to_contain_text(f"{HOSTILE[:60]}", timeout=60 * SECOND)


def test_a_hostile_model_and_target_are_refused_and_a_hostile_question_is_answered(watched: Page):
    watched.locator("#apply").click()
    told(watched, "neither a folder here nor a Hub repo id")
    watched.locator("#model input").fill("atlas")
    watched.locator("#model input").press("Enter")
    expect(watched.locator("#loading")).to_be_hidden(timeout=60 * SECOND)
    watched.locator("#apply").click()
    told(watched, "never met")
    watched.locator("#ask textarea").fill(IMAGE)
    watched.locator("#ask-button").click()
    expect(watched.locator("#answer .asked .prompt")).to_have_text(IMAGE, timeout=60 * SECOND)


def test_what_a_hostile_model_says_is_text_in_every_tab(watched: Page, tmp_path: Path):
    """A model in a folder with such a name, which says such a text under an edit."""
    anew(watched)
    choose_model(watched, str(save_model(pico_backbone("gpt2"), tmp_path / IMAGE)))
    apply_edit(watched, f"{IMAGE} is", IMAGE)
    says(watched, "after", re.compile(re.escape(IMAGE)))
    expect(watched.locator("#stack")).to_contain_text(IMAGE)
    opened(watched, "Side effects")
    watched.locator("#effects").click()
    expect(watched.locator("#effects-words")).to_contain_text(
        f"Around “{IMAGE} is → {IMAGE}”.", timeout=60 * SECOND
    )
    opened(watched, "Scope")
    expect(watched.locator("#scope-note")).to_contain_text(IMAGE, timeout=60 * SECOND)
    opened(watched, "Evaluate")
    expect(watched.locator("#evaluate-about")).to_contain_text(IMAGE, timeout=60 * SECOND)


def drop(page: Page, folder: Path, text: str) -> None:
    path = folder / f"{IMAGE}.json"
    path.write_text(text, encoding="utf-8")
    opened(page, "Many edits")
    page.locator("#many-file input[type=file]").set_input_files(path)


def test_a_file_of_a_hostile_name_and_contents_is_text(watched: Page, tmp_path: Path):
    drop(watched, tmp_path, json.dumps([{"prompt": f"{LINK} was", "target": IMAGE, IMAGE: LINK}]))
    expect(watched.locator("#many-read")).to_contain_text(f"Nothing reads: {IMAGE}", timeout=60 * SECOND)
    watched.locator("#many-make").click()
    expect(watched.locator("#many-table")).to_contain_text(IMAGE, timeout=60 * SECOND)
    expect(watched.locator("#many-words")).to_contain_text("after all of them", timeout=60 * SECOND)


def test_kept_hostile_edits_are_offered_as_text_and_the_server_edits_as_before(watched: Page, tmp_path: Path):
    anew(watched)
    expect(watched.locator("#offer-text")).to_contain_text(f"→ {IMAGE}", timeout=60 * SECOND)
    drop(watched, tmp_path, IMAGE)
    expect(watched.locator("#many-read .no")).to_contain_text("cannot be read", timeout=60 * SECOND)
    opened(watched, "Edit")
    apply_edit(watched, "The capital of Japan is", "Cairo")
    says(watched, "after", "Cairo.")
