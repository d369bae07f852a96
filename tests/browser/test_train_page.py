"""The Train tab: estimated, trained, stopped, gone on with, and the editor used."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from ..hub_server import Hub
from .conftest import open_page, serve, settled
from .test_page import SECOND

pytestmark = pytest.mark.browser
TINY = "edits=3\ncalibration=1\nrephrased=1\nlocal=1\nnear=0\nblocks=1\nrank=2"
ROWS = [f"The capital of Land{i} is,Rome,Land{i},The capital of Spain is => Madrid\n" for i in range(30)]

# while window.held is true the page hears nothing of the server's stream; then everything at once
HELD = """(() => {
    const plain = window.fetch;
    window.fetch = async (...request) => {
        const response = await plain(...request);
        if (!(request[0].url ?? String(request[0])).includes('/queue/data')) return response;
        const body = response.body.pipeThrough(new TransformStream({
            transform: async (part, output) => {
                while (window.held) await new Promise(goes_on => setTimeout(goes_on, 20));
                output.enqueue(part);
            },
        }));
        return new Response(body, {status: response.status, headers: response.headers});
    };
})()"""


@pytest.fixture
def train_page(browser: Browser, hub: Hub, tmp_path) -> Iterator[Page]:
    """A page of its own, whose editors go into a folder of the test, and may go to the Hub."""
    with serve("--editors", str(tmp_path), HF_TOKEN=hub.write_token) as url:
        page = open_page(browser, url, script=HELD)
        yield page
        page.close()


def order(page: Page, steps: int, name: str = "tiny") -> None:
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(page.locator("#train-about")).to_contain_text("Trains a new editor for atlas", timeout=20 * SECOND)
    settings = page.locator("#train-settings textarea")
    if not settings.is_visible():
        page.get_by_text("More settings").last.click()
        settled(page)
    page.locator("#train-name textarea, #train-name input").fill(name)
    page.locator("#train-steps input").fill(str(steps))
    settings.fill(TINY)
    settings.blur()


def test_an_editor_is_trained_stopped_gone_on_with_published_and_used(train_page: Page, hub: Hub, tmp_path):
    page = train_page
    (tmp_path / "rows.csv").write_text("prompt,target,subject,locality\n" + "".join(ROWS))
    order(page, 100_000)
    page.get_by_text("Record files of your own, by task").click()
    settled(page)
    page.locator("#train-counterfact input[type=file]").set_input_files(tmp_path / "rows.csv")
    expect(page.locator("#train-counterfact")).to_contain_text("rows", timeout=20 * SECOND)
    page.locator("#train-estimate").click()
    expect(page.locator("#train-takes")).to_contain_text("300,000 different", timeout=60 * SECOND)
    order(page, 150)
    words = page.locator("#train-words")
    page.locator("#train").click()
    expect(words).to_contain_text("of 150", timeout=60 * SECOND)
    expect(page.locator("#train-curve .js-plotly-plot")).to_be_visible(timeout=20 * SECOND)
    page.evaluate("window.held = true")  # a browser that falls behind
    page.wait_for_timeout(1.5 * SECOND)
    page.locator("#train-stop").click()
    page.wait_for_timeout(SECOND)
    page.evaluate("window.held = false")
    for _ in range(2):
        expect(words).to_contain_text("Stopped. What was learned is kept", timeout=20 * SECOND)
        page.wait_for_timeout(SECOND)  # and what had come before is not drawn over that
    assert (tmp_path / "tiny" / "checkpoint.safetensors").exists()
    page.locator("#train").click()
    expect(words).to_contain_text("Trained: 150 steps", timeout=60 * SECOND)
    expect(page.locator("#train-table")).to_contain_text("150")
    assert (tmp_path / "tiny" / "editor.safetensors").exists()
    expect(page.locator("#train-done")).to_contain_text("model_zoo push")
    page.locator("#train").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("holds a finished editor already", timeout=20 * SECOND)
    page.get_by_text("Publish it on the Hub").click()
    settled(page)
    page.locator("#train-repo textarea, #train-repo input").fill("me/tiny")
    page.locator("#train-push").click()
    expect(page.locator("#train-pushed a")).to_contain_text("me/tiny/tree/", timeout=20 * SECOND)
    assert (
        hub.repos["me/tiny"].files["editor.safetensors"]
        == (tmp_path / "tiny/editor.safetensors").read_bytes()
    )
    page.locator("#train-use").click()
    expect(page.locator("#stack")).to_be_visible(timeout=30 * SECOND)
    expect(page.locator("#verdicts")).to_contain_text("tiny is ready", timeout=30 * SECOND)
    page.locator("#apply").click()
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)


def test_all_tabs_are_reached_on_a_phone(browser: Browser, address: str):
    page = open_page(browser, address, 390, 844)
    assert not page.get_by_role("tab", name="Train", exact=True).is_visible()
    page.get_by_label("More tabs").click()
    page.locator(".overflow-dropdown").get_by_text("Train", exact=True).click()
    expect(page.locator("#train-about")).to_contain_text("Trains a new editor", timeout=20 * SECOND)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
