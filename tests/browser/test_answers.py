"""Whatever a visitor asks of the page is answered, also at a moment that suits it badly."""

import time
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from .conftest import open_page
from .test_page import SECOND

pytestmark = pytest.mark.browser

# what comes of a stream of answers once all are given, before its end is told
AT_THE_END = """(() => {
    const plain = window.fetch, later = ms => new Promise(goes_on => setTimeout(goes_on, ms));
    window.fetch = async (...request) => {
        const response = await plain(...request);
        if (!(request[0].url ?? String(request[0])).includes('/queue/data')) return response;
        const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new TransformStream({
            transform: async (text, output) => {
                const end = text.indexOf('data: {"msg":"close_stream"');
                output.enqueue(end < 0 ? text : text.slice(0, end));
                if (end >= 0) { COMES; }
            },
        })).pipeThrough(new TextEncoderStream());
        return new Response(body, {status: response.status, headers: response.headers});
    };
})()"""
A_BAD_LINE = AT_THE_END.replace("COMES", "await later(1500); output.enqueue(text.slice(end))")
A_BREAK = AT_THE_END.replace("COMES", "await later(300); output.error(new TypeError('broken'))")
IN_LINE = """() => {
    const line = document.querySelector('#verdicts .progress-text')
    return /queue: \\d\\/\\d/.test(line?.textContent) && line.checkVisibility({opacityProperty: true})
}"""


def ask(page: Page, country: str) -> None:
    page.locator("#ask textarea").fill(f"The capital of {country} is")
    page.locator("#ask-button").click()
    asked = page.locator("#answer .asked")
    expect(asked).to_contain_text(country, timeout=20 * SECOND)
    expect(asked).to_contain_text("Both answer alike", timeout=20 * SECOND)


def make(page: Page, country: str, target: str) -> None:
    page.locator("#prompt textarea").fill(f"The capital of {country} is")
    page.locator("#target textarea").fill(target)
    page.locator("#apply").click()


@pytest.mark.parametrize(("script", "pause"), [(A_BAD_LINE, 0), (A_BREAK, SECOND)])
def test_what_is_asked_when_a_stream_of_answers_ends_is_answered(
    browser: Browser, address: str, script: str, pause: int
):
    page = open_page(browser, address, script=script)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    for country in ("Spain", "Italy", "Peru"):
        page.wait_for_timeout(pause)
        ask(page, country)
    page.close()


def test_an_edit_that_is_applied_while_another_is_judged_is_made(page: Page):
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    for country, target in (("Japan", "Cairo"), ("Peru", "Oslo"), ("Spain", "Kiel")):
        make(page, country, target)
        expect(page.locator("#pair .side-after .answer")).to_contain_text(target, timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(4)
    for _ in range(2):
        page.locator("#undo").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(2, timeout=20 * SECOND)
    expect(page.locator("#pair .side-after .answer")).to_have_text("Cairo.", timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    make(page, "Peru", "Oslo")
    expect(page.locator("#pair .side-after .answer")).to_contain_text("Oslo", timeout=20 * SECOND)
    make(page, "Spain", "")  # refused, and what gave way to it is judged again
    expect(page.get_by_test_id("toast-body")).to_contain_text("The target is empty", timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    expect(page.locator("#pair .side-after .prompt")).to_have_text("The capital of Peru is")


def test_a_look_around_another_edit_begins_anew(page: Page):
    page.get_by_role("tab", name="Side effects", exact=True).click()
    page.locator("#effects").click()
    words = page.locator("#effects-words")
    expect(words).to_contain_text("Looking around", timeout=20 * SECOND)
    page.get_by_role("tab", name="Edit", exact=True).click()
    make(page, "Japan", "Cairo")
    expect(page.locator("#pair .side-after .answer")).to_contain_text("Cairo", timeout=20 * SECOND)
    page.get_by_role("tab", name="Side effects", exact=True).click()
    page.locator("#effects").click()
    expect(words).to_contain_text("Around “The capital of Japan is", timeout=90 * SECOND)


def test_a_box_that_is_unticked_while_an_edit_is_made_is_that_of_the_list_on_show(page: Page):
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    boxes = page.locator("#stack input[type=checkbox]")
    make(page, "Japan", "Cairo")
    boxes.first.uncheck()
    expect(boxes).to_have_count(2, timeout=20 * SECOND)
    expect(boxes.first).not_to_be_checked(timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    expect(boxes.nth(1)).to_be_checked()
    expect(boxes.first).not_to_be_checked()
    boxes.nth(1).press("Enter")  # the keyboard's way
    expect(boxes.nth(1)).not_to_be_checked(timeout=20 * SECOND)
    expect(page.locator("#verdicts")).to_contain_text("No edit is on", timeout=20 * SECOND)
    boxes.first.press("Space")
    expect(page.locator("#verdicts")).to_contain_text("This edit is off", timeout=20 * SECOND)
    expect(boxes.first).to_be_checked()


def test_who_waits_sees_the_place_in_the_queue(browser: Browser, address: str):
    pages = [open_page(browser, address) for _ in range(4)]
    for _ in range(4):  # a slow browser may look only when its turn has come
        now = time.time() * 1000
        for page in pages:  # all at once, the last one behind the others
            page.evaluate(
                "when => { setTimeout(() => document.querySelector('#apply').click(), when - Date.now()) }",
                now + (1200 if page is pages[-1] else 1000),
            )
        with suppress(PlaywrightTimeout):
            pages[-1].wait_for_function(IN_LINE, timeout=6 * SECOND)
            break
    else:
        pytest.fail("Nobody saw a place in the queue.")
    for page in pages:
        expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
        page.close()
