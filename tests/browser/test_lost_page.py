"""A page that was reloaded, or whose server was restarted: the visitor is told, and has the edits back."""

from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from .conftest import free_port, open_page, says, serve, served
from .test_page import SECOND, apply_edit

pytestmark = pytest.mark.browser


def made_again(page: Page) -> None:
    expect(page.locator("#offer-text")).to_contain_text("Japan is → Cairo", timeout=60 * SECOND)
    page.locator("#offer-again").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(2, timeout=60 * SECOND)
    expect(page.locator("#pair .side-after .answer")).to_have_text("Cairo.", timeout=60 * SECOND)
    expect(page.locator("#offer")).to_be_hidden()


def reloaded(page: Page) -> None:
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#pair .pair", timeout=60 * SECOND)


def test_a_reload_offers_the_edits_back_and_they_are_made_again(page: Page):
    expect(page.locator("#offer")).to_be_hidden()
    apply_edit(page, "The capital of Japan is", "Cairo")
    reloaded(page)
    says(page, "after", "Rome.")
    made_again(page)
    page.locator("#undo").click()  # as one action
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(1, timeout=60 * SECOND)


def test_after_a_restart_the_visitor_is_told_and_has_the_edits_back(browser: Browser):
    port = free_port()
    with served(port=port) as (url, server):
        page = open_page(browser, url)
        apply_edit(page, "The capital of Japan is", "Cairo")
        busy = open_page(browser, url)
        apply_edit(busy, "The capital of Peru is", "Kiel")
        for _ in range(5):  # a slow browser may look only when the edit is done
            busy.locator("#apply").click()
            with suppress(PlaywrightTimeout):
                busy.wait_for_function("document.querySelector('#verdicts .waiting')", timeout=4 * SECOND)
                break
        else:
            pytest.fail("The page was never seen waiting for a verdict.")
        server.kill()  # while the edit is judged
    expect(busy.locator("#verdicts")).to_contain_text("The server has gone", timeout=30 * SECOND)
    with serve(port=port):
        expect(busy.locator("#offer-text")).to_contain_text("Peru is → Kiel", timeout=60 * SECOND)
        busy.close()
        toast = page.get_by_test_id("toast-body").filter(has_text="no longer here")
        for _ in range(4):  # the page may still be looking for the server that went
            page.locator("#ask-button").click()
            with suppress(PlaywrightTimeout):
                toast.first.wait_for(timeout=15 * SECOND)
                break
        expect(toast.first).to_contain_text("Reload the page")
        page.locator("#stack input[type=checkbox]").nth(1).uncheck()
        expect(page.get_by_test_id("toast-body").filter(has_text="not among")).to_have_count(0)
        reloaded(page)
        made_again(page)
        page.close()
