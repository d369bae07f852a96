"""The Side effects tab: the edit on show from all sides, as findings come."""

import pytest
from playwright.sync_api import Page, expect

from .test_page import SECOND

pytestmark = pytest.mark.browser


def test_the_edit_on_show_is_looked_at_from_all_sides(page: Page):
    page.locator("#looks-around").click()
    expect(page.get_by_role("tab", name="Side effects", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.locator("#effects-words")).to_contain_text(
        "Around “The capital of France is → Rome”", timeout=120 * SECOND
    )
    lights = page.locator("#effects-lights .light")
    expect(lights).to_have_count(3)
    expect(lights.nth(2)).to_contain_text("13 of 13 answers")
    expect(page.locator("#effects-knowledge")).to_contain_text("The same fact of others")
    for name in ("strengths", "layers", "traced"):
        expect(page.locator(f"#effects-{name}-plot .js-plotly-plot")).to_be_visible(timeout=30 * SECOND)
    expect(page.locator("#effects-nearestedits tbody tr")).to_have_count(5)
    page.locator("#effects-strengths summary").click()
    expect(page.locator("#effects-strengths tbody tr")).to_have_count(9)
    page.get_by_role("button", name="Make it at strength 0.25").click()
    expect(page.locator("#stack")).to_contain_text("(strength 0.25)", timeout=30 * SECOND)


def test_a_slow_browser_draws_every_finding(page: Page):
    slow = page.context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 8})
    page.locator("#looks-around").click()
    expect(page.locator("#effects-nearestedits tbody tr")).to_have_count(5, timeout=120 * SECOND)
    for name in ("strengths", "layers", "traced"):
        expect(page.locator(f"#effects-{name}-plot .js-plotly-plot")).to_be_visible(timeout=60 * SECOND)
    expect(page.get_by_role("button", name="Make it at strength 0.25")).to_be_visible(timeout=30 * SECOND)


def test_without_an_edit_a_sentence_says_what_to_do(page: Page):
    page.locator("#clear").click()
    page.get_by_role("tab", name="Side effects", exact=True).click()
    page.locator("#effects").click()
    expect(page.get_by_text("make one in the Edit tab")).to_be_visible(timeout=30 * SECOND)
