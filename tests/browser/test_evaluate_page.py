"""The Evaluate tab: measured, read, and a case that missed opened."""

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import settled
from .test_page import SECOND

pytestmark = pytest.mark.browser


def measure(page: Page, n: int, *methods: str) -> None:
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    for name in ("InstructEdit", "FT-L (constrained fine-tuning)", "No edit"):
        page.locator("#methods").get_by_label(name, exact=True).set_checked(name in methods)
    page.locator("#n input[type=number]").fill(str(n))
    page.locator("#n input[type=number]").press("Enter")
    page.locator("#measure").click()
    expect(page.locator("#evaluate-words")).to_contain_text("edits per task", timeout=120 * SECOND)


def test_methods_are_measured_and_a_missed_case_opens_in_the_edit_tab(page: Page):
    measure(page, 2, "InstructEdit", "No edit")
    expect(page.locator("#bars-locality .js-plotly-plot")).to_be_visible(timeout=20 * SECOND)
    expect(page.locator("#evaluate-table")).to_contain_text("100.0% [100.0%, 100.0%]")
    row = page.locator("#evaluate-cases").get_by_role("row", name="none").first
    prompt = row.get_by_role("gridcell").nth(2).inner_text().strip()
    row.get_by_role("gridcell").nth(2).click()
    expect(page.locator("#prompt textarea")).to_have_value(prompt, timeout=20 * SECOND)
    page.locator("#apply").click()
    expect(page.locator("#verdicts")).to_contain_text("from the edit's own record", timeout=30 * SECOND)


def test_own_records_are_uploaded_and_what_is_missing_is_told(page: Page, tmp_path):
    (tmp_path / "mine.csv").write_text(
        "prompt,target,locality\nThe capital of France is,Rome,The capital of Spain is => Madrid\nNo target "
        "here,,\n"
    )
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.get_by_text("Your own edits").click()
    settled(page)
    page.locator("#records input[type=file]").set_input_files(tmp_path / "mine.csv")
    expect(page.locator("#records")).to_contain_text(re.compile(r"mine\s*\.csv"), timeout=20 * SECOND)
    measure(page, 5, "InstructEdit")
    expect(page.locator("#evaluate-words")).to_contain_text("row 2, target: empty")


def test_nothing_chosen_is_a_sentence(page: Page):
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.locator("#tasks").get_by_label("Change a fact").uncheck()
    page.locator("#measure").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        "Choose at least one method", timeout=20 * SECOND
    )
