"""The Compare tab: the edit of the Edit tab by several methods, a row each as they come."""

import csv

import pytest
from playwright.sync_api import Page, expect

from .conftest import settled
from .test_page import SECOND

pytestmark = pytest.mark.browser


def test_methods_stand_side_by_side_and_the_table_is_downloaded(page: Page, tmp_path):
    page.get_by_role("tab", name="Compare", exact=True).click()
    methods = page.locator("#compare-methods")
    for name in ("ROME", "IKE (in context)"):
        methods.get_by_label(name, exact=True).uncheck()
    methods.get_by_label("MEND", exact=True).check()
    page.locator("#compare").click()
    expect(page.locator("#compare-words")).to_contain_text("3 of 4 methods", timeout=90 * SECOND)
    rows = page.locator("#compare-table tbody tr")
    expect(rows).to_have_count(5)  # the base model's text comes first
    expect(rows.nth(0)).to_contain_text("Paris.")
    expect(rows.nth(1).locator("mark.changed")).to_have_text("Rome.")
    expect(rows.nth(2)).to_contain_text("needs an editor trained for")
    with page.expect_download(timeout=30 * SECOND) as download:
        page.locator("#compare-file").click()
    download.value.save_as(tmp_path / "table.csv")
    rows_there = csv.reader((tmp_path / "table.csv").open(encoding="utf-8"))
    assert [row[2] for row in rows_there] == ["holds", "yes", "", "yes", "yes"]


def test_settings_of_the_edit_tab_count_and_the_list_goes_along(page: Page):
    page.get_by_text("More settings").click()
    settled(page)
    page.locator("#method input").click()
    page.get_by_role("option", name="FT-L (constrained fine-tuning)").click()
    page.locator("#hyper-ft-l-steps input").fill("1")
    page.locator("#hyper-ft-l-steps input").press("Tab")
    page.get_by_role("tab", name="Compare", exact=True).click()
    methods = page.locator("#compare-methods")
    for name in ("ROME", "IKE (in context)", "GRACE (codebook)"):
        methods.get_by_label(name, exact=True).uncheck()
    page.locator("#compare-list input").check()
    page.locator("#compare").click()
    expect(page.locator("#compare-words")).to_contain_text("1 of 2 methods", timeout=90 * SECOND)
    expect(page.locator("#compare-table tbody tr").nth(2).locator(".no")).to_have_text("✗")


def test_nothing_chosen_is_a_sentence(page: Page):
    page.get_by_role("tab", name="Compare", exact=True).click()
    ticked = page.locator("#compare-methods input:checked")
    while ticked.count():
        ticked.first.uncheck()
    page.locator("#compare").click()
    expect(page.get_by_text("Choose at least one method.")).to_be_visible(timeout=20 * SECOND)
