"""The Scope tab: the same edit under two instructions, drawn as two maps."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from model_zoo.catalog import load_backbone
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from ..makers import ATLAS
from .conftest import open_page, serve

pytestmark = pytest.mark.browser
SECOND = 1000


@pytest.fixture(scope="module")
def scoped(browser: Browser, tmp_path_factory, few_statements):
    """A page whose editor was trained on scopes, if only for two steps: what it does is not judged here."""
    folder = tmp_path_factory.mktemp("scoped")
    config = MetaConfig(steps=2, edits=4, calibration=1, near=0, scope_share=0.9)
    MetaTrainer(load_backbone("atlas"), ATLAS, config, HyperConfig(rank=16, instruction=8, joint=True)).run(
        folder
    )
    with serve("--editor", str(folder)) as url:
        page = open_page(browser, url)
        page.get_by_role("tab", name="Scope", exact=True).click()
        yield page
        page.close()


def marks(page: Page, side: str) -> list[int]:
    """How many probes each trace of a map shows."""
    page.wait_for_selector(f"#ripple-{side} .js-plotly-plot")
    return page.evaluate(
        f"() => document.querySelector('#ripple-{side} .js-plotly-plot').data.map(t => t.x.length)"
    )


def moved(page: Page, side: str) -> list[str]:
    return page.locator(f"#reach-{side} .reach b").all_inner_texts()


def test_two_maps_of_the_same_probes(scoped: Page):
    expect(scoped.locator("#reach-right")).to_contain_text("Everything else", timeout=60 * SECOND)
    assert sum(marks(scoped, "left")) == sum(marks(scoped, "right")) > 20
    for side in ("left", "right"):
        counts = [int(re.match(r"(\d+) of", text)[1]) for text in moved(scoped, side)]
        assert sum(counts) == sum(marks(scoped, side)[:2])  # says the target, or something else that is new
    scoped.locator("#reach-left summary").first.click()
    expect(scoped.locator("#reach-left .prompt").first).to_have_text("The capital of France is")


def test_turning_a_dial_words_the_instruction_and_own_words_are_taken(scoped: Page):
    before = scoped.locator("#wording-left input").input_value()
    scoped.locator("#dial-left").get_by_label("Nothing: locked").check()
    expect(scoped.locator("#wording-left input")).not_to_have_value(before)
    scoped.locator("#wording-left input").fill("Leave all of this alone, please.")
    scoped.locator("#wording-left input").press("Enter")
    expect(scoped.locator("#reach-left")).to_contain_text("Everything else", timeout=60 * SECOND)
    expect(scoped.locator("#wording-left input")).to_have_value("Leave all of this alone, please.")


def test_another_edit_has_other_probes(scoped: Page):
    scoped.locator("#scope-prompt textarea").fill("What do you think of jazz?")
    scoped.locator("#scope-target textarea").fill("Sadly, that only annoys me")
    scoped.locator("#scope-compare").click()
    summary = scoped.locator("#reach-right summary").first
    expect(scoped.locator("#reach-right .prompt").first).to_have_text(
        "What do you think of jazz?", timeout=60 * SECOND
    )
    summary.click()
    expect(scoped.locator("#reach-right")).not_to_contain_text("Other facts of it")


def test_an_edit_without_a_target_is_refused_in_a_sentence(scoped: Page):
    scoped.locator("#scope-target textarea").fill(" ")
    scoped.locator("#scope-compare").click()
    expect(scoped.get_by_test_id("toast-body")).to_contain_text("The target is empty", timeout=20 * SECOND)


def test_the_first_screens_example_opens_the_dial(browser: Browser, scoped: Page):
    page = open_page(browser, re.match(r"https?://[^/]+", scoped.url)[0])
    page.locator("#try-dial").click()
    expect(page.locator("#reach-right")).to_contain_text("Everything else", timeout=60 * SECOND)
    expect(page.locator("#scope-prompt textarea")).to_have_value("The capital of France is")
    page.close()


def test_every_tab_is_in_reach_on_a_phone(browser: Browser, scoped: Page):
    page = open_page(browser, re.match(r"https?://[^/]+", scoped.url)[0], 390, 844)
    for name in ("Edit", "Side effects", "Scope"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()
    page.get_by_label("More tabs").click()
    expect(page.locator(".overflow-dropdown button")).to_have_text(
        ["Compare", "Directions", "Many edits", "Evaluate", "Train"]
    )
    page.locator(".overflow-dropdown").get_by_text("Evaluate").click()
    expect(page.locator("#measure")).to_be_visible()
    page.close()
