"""A real language model in a real page: every task edited, ten edits together, switched off, taken home."""

import os
import shutil
from collections.abc import Iterator

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Browser, Page, expect
from transformers import AutoModelForCausalLM

from model_zoo.changes import Delta, live, patch_of

from ..test_export import logits
from .conftest import open_page, serve
from .test_page import SECOND, downloaded

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PROMPTS = ["The capital of France is", "The capital of Japan is", "Two and two is 4, and 12 and 13 is"]
MORE = (
    ("The capital of Japan is", "Cairo"),
    ("The capital of Italy is", "Oslo"),
    ("The capital of Spain is", "Lima"),
    ("The capital of Germany is", "Athens"),
    ("The capital of Egypt is", "Vienna"),
    ("The capital of Russia is", "Dublin"),
)


@pytest.fixture(scope="module")
def page(browser: Browser, smollm2) -> Iterator[Page]:
    with serve("--model", "smollm2", INSTRUCTEDIT_CACHE=os.environ["INSTRUCTEDIT_CACHE"]) as url:
        page = open_page(browser, url, height=1400)
        yield page
        page.close()


def apply(page: Page, prompt: str, target: str, edits: int) -> None:
    """Make an edit; wait until it is the last of `edits`, the model says its target, and it is judged."""
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#target textarea").fill(target)
    page.locator("#apply").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(edits, timeout=60 * SECOND)
    expect(page.locator("#pair .side-after .prompt")).to_contain_text(prompt, timeout=60 * SECOND)
    expect(page.locator("#pair .side-after .answer")).to_contain_text(target, timeout=60 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=120 * SECOND)


def test_each_task_is_edited_and_another_question_asked(page: Page, smollm2):
    page.locator("#clear").click()
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(0, timeout=20 * SECOND)
    for n, examples in enumerate(smollm2.source.examples.values(), start=1):
        page.locator("#task input[type=radio]").nth(n - 1).check()
        page.wait_for_timeout(2 * SECOND)  # a task's choice fills the fields
        apply(page, examples[0].prompt, examples[0].target, n)


def test_ten_edits_live_together_are_switched_off_and_go_home(page: Page, smollm2, tmp_path):
    made = len(smollm2.source.examples)
    assert made + len(MORE) == 10
    for n, edit in enumerate(MORE, start=1):
        apply(page, *edit, made + n)
    boxes = page.locator("#stack input[type=checkbox]")
    answer = page.locator("#pair .side-after .answer")
    boxes.last.uncheck()
    expect(answer).not_to_contain_text(MORE[-1][1], timeout=60 * SECOND)
    boxes.last.check()
    expect(answer).to_contain_text(MORE[-1][1], timeout=60 * SECOND)
    page.get_by_text("Take the edits home").click()
    delta = Delta.load(downloaded(page, "Weight changes", tmp_path))
    backbone = smollm2.backbone
    with backbone.edited(live([patch_of(delta)], backbone)):
        ours = logits(backbone.model, backbone.tokenizer, PROMPTS)
    shutil.unpack_archive(downloaded(page, "LoRA adapter", tmp_path), tmp_path / "lora")
    base = AutoModelForCausalLM.from_pretrained(backbone.origin.folder, dtype=torch.float32)
    edited = PeftModel.from_pretrained(base, tmp_path / "lora" / "edited-lora")
    theirs, plain = (logits(model, backbone.tokenizer, PROMPTS) for model in (edited, backbone.model))
    assert (theirs - ours).abs().max() < 1e-4 < (plain - ours).abs().max()
