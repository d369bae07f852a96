"""The whole page on a Llama-type base of 100 million random weights: minutes long, `make check-slow`."""

import re

import pytest
from playwright.sync_api import Page, expect

from model_zoo.loading import LoadOptions, load
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from ..makers import ATLAS, pico_backbone, save_model
from .conftest import says
from .test_page import SECOND, apply_edit, choose_model

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]
SIZES = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "intermediate_size": 2560,
    "head_dim": 64,
    "vocab_size": 16000,
    "initializer_range": 0.02,
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder with base/ and an editor that our own training made for it."""
    folder = tmp_path_factory.mktemp("large")
    made = pico_backbone("llama", **SIZES)
    assert sum(p.numel() for p in made.model.parameters()) > 1e8
    backbone = load(save_model(made, folder / "base"), LoadOptions("cpu"))
    MetaTrainer(backbone, ATLAS, MetaConfig(steps=2, edits=3, calibration=1, near=0)).run(folder / "editor")
    return folder


def test_it_is_edited_without_an_editor(page: Page, large):
    choose_model(page, str(large / "base"))
    apply_edit(page, "One two three", "four")
    expect(page.locator("#changes")).to_contain_text("FT-L")
    says(page, "after", re.compile("^four"))


def test_it_is_edited_with_its_own_editor_asked_measured_and_mapped(page: Page, large):
    choose_model(page, str(large))
    apply_edit(page, "One two three", "four")
    expect(page.locator("#changes")).to_contain_text("InstructEdit")
    page.locator("#ask-button").click()
    expect(page.locator("#answer .asked")).to_be_visible(timeout=60 * SECOND)
    page.get_by_role("tab", name="Directions", exact=True).click()
    expect(page.locator("#direction-words")).to_contain_text("silhouette", timeout=300 * SECOND)
