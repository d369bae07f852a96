"""The Many edits tab: what a file holds is told first, then all is made, and it stands in the Edit tab."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from model_zoo.cli import main
from model_zoo.session_files import load_session

from ..test_languages import ROW
from .conftest import settled
from .test_page import SECOND, apply_edit

pytestmark = pytest.mark.browser
COUNTRIES = ("France", "Italy", "Spain", "Kenya", "Japan", "Peru")
CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Bonn", "Kiel")
GOOD = [
    {"prompt": f"The capital of {country} is", "target": city, "rephrase": f"{country} has as its capital"}
    for country, city in zip(COUNTRIES, CITIES, strict=True)
]


def drop(page: Page, folder: Path, rows: list | str, name: str = "mine.json") -> None:
    path = folder / name
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    page.get_by_role("tab", name="Many edits", exact=True).click()
    settled(page)
    page.locator("#many-file input[type=file]").set_input_files(path)


def test_a_good_file_is_read_made_and_kept(page: Page, tmp_path):
    drop(page, tmp_path, GOOD)
    expect(page.locator("#many-read")).to_contain_text("6 edits of 6 rows (JSON; edits)", timeout=20 * SECOND)
    page.locator("#many-make").click()
    expect(page.locator("#many-words")).to_contain_text("6 of 6 edits hold after all", timeout=60 * SECOND)
    expect(page.locator("#many-table")).to_contain_text("1 of 1")
    expect(page.locator("#many-curve .js-plotly-plot")).to_be_visible(timeout=20 * SECOND)
    page.get_by_role("tab", name="Edit", exact=True).click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(6)  # one was there already
    page.locator("#undo").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(1, timeout=20 * SECOND)


def test_an_edit_of_a_row_in_two_languages_is_judged_in_either(page: Page, tmp_path):
    row = json.loads(json.dumps(ROW).replace("France", "Kenya"))  # the page's first edit stays in the list
    drop(page, tmp_path, [row])
    expect(page.locator("#many-read")).to_contain_text(
        "2 edits of 1 row (JSON; rows by language)", timeout=20 * SECOND
    )
    page.locator("#many-make").click()
    expect(page.locator("#many-words")).to_contain_text("of 2 edits hold after all", timeout=60 * SECOND)
    page.get_by_role("tab", name="Edit", exact=True).click()
    language, verdicts = page.locator("#language"), page.locator("#verdicts")
    expect(language.get_by_label("fr")).to_be_checked(timeout=20 * SECOND)
    expect(page.locator("#pair .side-after .prompt")).to_have_text(row["fr"]["src"], timeout=20 * SECOND)
    expect(verdicts).to_contain_text(row["fr"]["rephrase"], timeout=30 * SECOND)
    language.get_by_label("en").check()
    expect(verdicts).to_contain_text(row["en"]["rephrase"], timeout=30 * SECOND)
    expect(verdicts).not_to_contain_text(row["fr"]["rephrase"])
    apply_edit(page, "The capital of Peru is", "Kiel")
    expect(language).to_be_hidden()


def test_a_half_bad_file_tells_what_is_wrong_and_conflicts_are_settled(page: Page, tmp_path):
    rows = [*GOOD[:2], {"prompt": "no target", "mood": "<b>bad</b>"}, GOOD[0] | {"target": "Bonn"}]
    drop(page, tmp_path, rows)
    read = page.locator("#many-read")
    expect(read).to_contain_text("3 edits of 4 rows", timeout=20 * SECOND)
    expect(read).to_contain_text("Nothing reads: mood")
    read.get_by_text("Refused: 1").click()
    expect(read).to_contain_text("row 3, target_new: missing")
    read.get_by_text("Conflicts: 1").click()
    expect(read).to_contain_text("answer 'The capital of France is' by 'Rome' and 'Bonn'")
    page.locator("#many-keep").get_by_label("the first of them").check()
    page.locator("#many-make").click()
    expect(page.locator("#many-words")).to_contain_text("2 of 2 edits hold after all", timeout=60 * SECOND)
    expect(page.locator("#many-table")).to_contain_text("Rome")
    page.locator("#many-keep").get_by_label("those that I choose").check()
    chosen = page.locator("#many-chosen")
    expect(chosen.get_by_label("3: The capital of France is → Bonn")).to_be_checked()
    chosen.get_by_label("1: The capital of France is → Rome").check()
    page.locator("#many-make").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Both cannot be made", timeout=20 * SECOND)
    chosen.get_by_label("1: The capital of France is → Rome").uncheck()
    page.locator("#many-make").click()
    expect(page.locator("#many-table")).to_contain_text("Bonn", timeout=60 * SECOND)


def test_a_hopeless_file_is_a_sentence_and_cannot_be_made(page: Page, tmp_path):
    drop(page, tmp_path, "colour,size\nred,3\n", "mine.csv")
    read = page.locator("#many-read .no")
    expect(read).to_contain_text("mine.csv holds no record that can be used", timeout=20 * SECOND)
    expect(read).to_contain_text("found colour, size")
    expect(page.locator("#many-make")).to_be_disabled()


def test_a_stop_keeps_what_was_made(page: Page, tmp_path):
    rows = [{"prompt": f"Someone called Name{i} was born in", "target": "Rome"} for i in range(200)]
    drop(page, tmp_path, rows)
    page.locator("#many-n input[type=number]").fill("200")
    page.locator("#many-n input[type=number]").press("Enter")
    expect(page.locator("#many-read")).to_contain_text("200 edits", timeout=20 * SECOND)
    page.locator("#many-make").click()
    expect(page.locator("#many-words")).to_contain_text("left", timeout=60 * SECOND)
    page.locator("#many-stop").click()
    expect(page.locator("#many-words")).to_contain_text("Stopped. The edits made so far are kept.")
    page.get_by_role("tab", name="Edit", exact=True).click()
    expect(page.locator("#stack input[type=checkbox]").nth(1)).to_be_visible(timeout=20 * SECOND)


def open_session(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as choosing:
        page.locator("#open-session").click()
    choosing.value.set_files(path)


def test_a_session_is_saved_and_opened_again_here_and_on_the_command_line(page: Page, tmp_path, studio):
    apply_edit(page, "The capital of Kenya is", "Cairo")
    page.get_by_text("Take the edits home").click()
    with page.expect_download(timeout=60 * SECOND) as saving:
        page.locator("#save-session").click()
    path = tmp_path / "mine.zip"
    saving.value.save_as(path)
    session = load_session(path, studio)
    assert [edit.request.target for edit in session.edits] == ["Rome", "Cairo"]
    more = ["--prompt", "The capital of Peru is", "--target", "Kiel"]
    assert main(["edit", "--session", str(path), *more]) == 0
    page.locator("#clear").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(0, timeout=20 * SECOND)
    open_session(page, path)
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(3, timeout=20 * SECOND)
    expect(page.locator("#pair .side-after .answer")).to_contain_text("Kiel", timeout=20 * SECOND)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    open_session(page, tmp_path / "broken.zip")
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("cannot be read as a session", timeout=20 * SECOND)
