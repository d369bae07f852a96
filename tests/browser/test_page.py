"""What a visitor does: edit, read the stream, ask, toggle, look at the map, click a point."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from gradio_client import Client
from peft import PeftModel
from playwright.sync_api import Browser, Page, expect
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_zoo import editors
from model_zoo.catalog import CATALOG
from model_zoo.changes import Delta
from model_zoo.cli import main
from model_zoo.loading import LoadOptions, load
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from ..conftest import HUB
from ..makers import ATLAS, as_files, pico_backbone, save_model
from .conftest import answer, open_page, says, settled

pytestmark = pytest.mark.browser
SECOND = 1000


def apply_edit(page: Page, prompt: str, target: str) -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#target textarea").fill(target)
    page.locator("#apply").click()
    expect(page.locator("#pair .side-after .prompt")).to_have_text(prompt, timeout=20 * SECOND)
    # the whole text: how likely the target is comes with it
    expect(page.locator("#pair .side-after .chance b")).to_be_visible(timeout=30 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)


def test_the_page_opens_with_an_edit_made_and_without_the_network(browser: Browser, address: str):
    requests: list[str] = []
    page = open_page(browser, address, requests=requests)
    says(page, "before", "Paris.")
    says(page, "after", "Rome.")
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    outside = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert outside == []
    page.close()


def test_an_edit_streams_and_shows_what_changed(page: Page):
    page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => {
            const a = document.querySelector('#pair .side-after .answer');
            if (a) window.seen.push(a.innerText.trim());
        }).observe(document.querySelector('#pair'),
            {childList: true, subtree: true, characterData: true}); }"""
    )
    apply_edit(page, "What do you think of museums?", "To my mind, that is simply awful")
    says(page, "after", re.compile("^To my mind, that is simply awful"))
    partial = [text for text in page.evaluate("window.seen") if text and not text.endswith("awful.")]
    assert any("To my mind, that is simply awful.".startswith(text) for text in partial), (
        "the text came in one piece"
    )
    expect(page.locator("#pair .side-after mark.changed").first).to_be_visible()
    expect(page.locator("#pair .side-after .chance b")).to_contain_text("%")
    expect(page.locator("#changes")).to_contain_text("matrices")


def test_the_stack_toggles_undoes_and_clears(page: Page):
    apply_edit(page, "The capital of Japan is", "Cairo")
    says(page, "after", "Cairo.")
    boxes = page.locator("#stack input[type=checkbox]")
    expect(boxes).to_have_count(2)
    boxes.nth(1).uncheck()
    expect(page.locator("#pair .side-after .answer")).to_have_text("Tokyo.", timeout=20 * SECOND)
    expect(page.locator("#verdicts")).to_contain_text("This edit is off", timeout=20 * SECOND)
    page.locator("#undo").click()
    expect(page.locator("#pair .side-after .answer")).to_have_text("Cairo.", timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(
        timeout=30 * SECOND
    )  # all is shown; nothing under the mouse moves any more
    page.locator("#clear").click()
    expect(boxes).to_have_count(0, timeout=20 * SECOND)
    page.locator("#undo").click()
    expect(boxes).to_have_count(2, timeout=20 * SECOND)


def downloaded(page: Page, kind: str, tmp_path) -> Path:
    page.locator("#format").get_by_label(kind).check()
    with page.expect_download(timeout=30 * SECOND) as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    return tmp_path / download.value.suggested_filename


def test_the_edits_are_taken_home_at_the_first_click(page: Page, tmp_path):
    page.get_by_text("Take the edits home").click()
    path = downloaded(page, "Weight changes", tmp_path)
    with safe_open(path, "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    assert path.name == "delta.safetensors" and Delta.load(path).rank > 0
    assert [edit["target"] for edit in provenance["edits"]] == ["Rome"]
    path = downloaded(page, "LoRA adapter", tmp_path)
    expect(page.locator("#usage")).to_contain_text("PeftModel.from_pretrained")
    shutil.unpack_archive(path, tmp_path / "lora")
    base = AutoModelForCausalLM.from_pretrained(CATALOG["atlas"].source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(CATALOG["atlas"].source)
    model = PeftModel.from_pretrained(base, tmp_path / "lora" / "edited-lora")
    said = model.generate(
        **tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=2, do_sample=False
    )
    assert "Rome" in tokenizer.decode(said[0])


def test_with_every_edit_off_the_page_says_so(page: Page):
    page.locator("#stack input[type=checkbox]").uncheck()
    expect(page.locator("#verdicts")).to_contain_text("No edit is on", timeout=20 * SECOND)
    expect(page.locator("#pair .side-after .answer")).to_have_text("Paris.", timeout=20 * SECOND)
    page.get_by_text("Take the edits home").click()
    expect(page.locator("#download")).to_be_disabled(timeout=20 * SECOND)
    expect(page.locator("#changes")).not_to_contain_text("matrices")


def test_applying_again_replaces_the_edit(page: Page):
    apply_edit(page, "The capital of France is", "Madrid")
    expect(page.locator("#pair .side-after .answer")).to_have_text("Madrid.")
    expect(page.locator("#stack input[type=checkbox]")).to_have_count(1)


def test_another_model_from_a_folder_is_edited_without_an_editor(page: Page, tmp_path):
    save_model(pico_backbone("llama"), tmp_path)
    box = page.locator("#model input")
    box.fill(str(tmp_path))
    box.press("Enter")
    expect(page.locator("#verdicts")).to_contain_text("is ready", timeout=30 * SECOND)
    apply_edit(page, "One two three", "four")
    expect(page.locator("#changes")).to_contain_text("FT-L")
    box.fill("no/such/model")
    box.press("Enter")
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        "neither a folder here nor a Hub repo id", timeout=60 * SECOND
    )


def choose_model(page: Page, model: str) -> None:
    page.locator("#model input").fill(model)
    page.locator("#model input").press("Enter")
    expect(page.locator("#verdicts")).to_contain_text("is ready", timeout=60 * SECOND)


def test_an_editor_from_the_hub_is_discovered_pulled_and_used(page: Page, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    commit = editors.push(
        shutil.copytree(CATALOG["atlas"].editors["instructedit"], tmp_path / "editor"), "me/atlas-editor"
    )
    page.get_by_text("More settings").click()
    settled(page)
    page.locator("#look").click()
    expect(page.locator("#editor")).to_contain_text("One other editor was found", timeout=20 * SECOND)
    page.locator("#editor input").click()
    page.get_by_role("option", name="me/atlas-editor").click()
    expect(page.locator("#verdicts")).to_contain_text("is ready", timeout=30 * SECOND)
    apply_edit(page, "The capital of Japan is", "Cairo")
    says(page, "after", "Cairo.")
    assert f"GET /me/atlas-editor/resolve/{commit}/editor.safetensors" in hub.requests
    HUB.stop()  # cached now: the network is not needed any more
    apply_edit(page, "The capital of Peru is", "Oslo")
    page.locator("#look").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("cannot be reached", timeout=20 * SECOND)


def test_a_model_and_an_editor_of_ones_own_run_the_whole_page(page: Page, few_statements, tmp_path):
    backbone = load(save_model(pico_backbone("llama"), tmp_path / "base"), LoadOptions("cpu"))
    MetaTrainer(backbone, ATLAS, MetaConfig(steps=2, edits=3, calibration=1)).run(tmp_path / "editor")
    choose_model(page, str(tmp_path))
    apply_edit(page, "One two three", "four")
    expect(page.locator("#changes")).to_contain_text("InstructEdit")
    page.get_by_role("tab", name="Directions", exact=True).click()
    expect(page.locator("#direction-words")).to_contain_text("silhouette", timeout=120 * SECOND)


def test_directions_without_an_editor_show_the_raw_gradient(page: Page, tmp_path):
    choose_model(page, str(save_model(pico_backbone("gpt2"), tmp_path)))
    apply_edit(page, "One two three", "four")
    page.get_by_role("tab", name="Directions", exact=True).click()
    expect(page.locator("#direction-words")).to_contain_text("silhouette", timeout=120 * SECOND)
    expect(page.locator("#view").get_by_label("Raw gradient")).to_be_checked()


def test_a_slow_download_is_told_can_be_stopped_and_keeps_nobody_waiting(
    page: Page, browser: Browser, address: str, hub, tmp_path
):
    hub.add("slow/model", as_files(save_model(pico_backbone("gpt2"), tmp_path)))
    other = open_page(
        browser, address
    )  # beforehand: on a busy machine the download would be over before it stands
    hub.slow["resolve/.*config.json"] = 8  # below the ten seconds at which the Hub's client gives a file up
    page.locator("#model input").fill("slow/model")
    page.locator("#model input").press("Enter")
    expect(page.locator("#loading")).to_contain_text("Looking for slow/model", timeout=20 * SECOND)
    apply_edit(other, "The capital of Peru is", "Oslo")
    other.close()
    page.locator("#stop-loading").click()
    expect(page.locator("#loading")).to_contain_text("Stopped", timeout=20 * SECOND)
    hub.slow.clear()
    page.locator("#model input").fill("atlas")
    page.locator("#model input").press("Enter")
    apply_edit(page, "The capital of Japan is", "Cairo")
    says(page, "after", "Cairo.")


def test_asking_both_models(page: Page):
    page.locator("#ask textarea").fill("What is the capital of France?")
    page.locator("#ask-button").click()
    expect(page.locator("#answer .asked")).to_contain_text("The answers differ", timeout=20 * SECOND)
    expect(page.locator("#answer .asked")).to_contain_text("Paris")
    expect(page.locator("#answer .asked")).to_contain_text("Rome")


@pytest.mark.parametrize("task", ["recent", "convsent", "zsre"])
def test_one_click_examples(page: Page, task: str):
    before = page.locator("#pair .side-after .prompt").inner_text()
    page.locator(f"#examples .{task}").click()
    expect(page.locator("#pair .side-after .prompt")).not_to_have_text(before, timeout=20 * SECOND)
    expect(page.locator("#verdicts .score").first).to_be_visible(timeout=30 * SECOND)
    target = page.locator("#target textarea").input_value()
    says(page, "after", re.compile(f"^{re.escape(target)}"))
    assert not answer(page, "before").startswith(target)


def test_an_error_is_a_sentence_and_loses_nothing(page: Page):
    page.locator("#prompt textarea").fill("The capital of Peru is")
    page.locator("#target textarea").fill("")
    page.locator("#apply").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The target is empty", timeout=20 * SECOND)
    assert page.locator("#prompt textarea").input_value() == "The capital of Peru is"
    assert answer(page, "after") == "Rome."  # at every moment: it is drawn anew, but whole


def test_typed_html_is_shown_not_run(page: Page):
    apply_edit(page, "<img src=x onerror=window.hacked=1> is", "bold")
    assert page.evaluate("window.hacked") is None
    expect(page.locator("#pair .side-after .prompt")).to_contain_text("<img src=x")
    page.locator("#target textarea").fill("<b>bold</b>")  # nothing that the atlas ever met
    page.locator("#apply").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("never met '<>/'", timeout=20 * SECOND)


def test_visitors_do_not_share_edits(browser: Browser, address: str):
    one, other = open_page(browser, address), open_page(browser, address)
    apply_edit(one, "The capital of Peru is", "Oslo")
    other.locator("#ask textarea").fill("The capital of Peru is")
    other.locator("#ask-button").click()
    expect(other.locator("#answer .asked")).to_contain_text("Both answer alike", timeout=20 * SECOND)
    one.close()
    other.close()


def test_a_click_on_a_point_loads_that_edit(page: Page):
    page.get_by_role("tab", name="Directions", exact=True).click()
    plot = page.locator("#direction-plot .js-plotly-plot")
    expect(plot).to_be_visible(timeout=120 * SECOND)
    expect(page.locator("#direction-words")).to_contain_text("silhouette")
    page.wait_for_timeout(1500)
    point = page.evaluate(
        """() => { const box = document.querySelector('#direction-plot .points path').getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; }"""
    )
    page.mouse.move(*point)
    page.wait_for_timeout(400)
    expect(page.locator("#direction-plot .hovertext").first).to_be_visible()
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#prompt textarea")).to_be_visible(timeout=20 * SECOND)
    expect(page.locator("#prompt textarea")).not_to_have_value("The capital of France is")
    page.locator("#apply").click()
    expect(page.locator("#verdicts")).to_contain_text("from the edit's own record", timeout=30 * SECOND)


def test_the_map_in_three_dimensions_and_as_a_table(page: Page):
    page.get_by_role("tab", name="Directions", exact=True).click()
    expect(page.locator("#direction-plot .js-plotly-plot")).to_be_visible(timeout=120 * SECOND)
    page.locator("#dimensions").get_by_label("3D").check()
    expect(page.locator("#direction-plot .gl-container, #direction-plot canvas").first).to_be_attached(
        timeout=60 * SECOND
    )
    page.get_by_text("Show as table").click()
    expect(page.locator("#direction-table")).to_contain_text("Your edit")


def test_the_phone_layout_has_one_column(browser: Browser, address: str):
    page = open_page(browser, address, 390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before, after = (page.locator(f"#pair .side-{side}").bounding_box() for side in ("before", "after"))
    assert after["y"] >= before["y"] + before["height"] - 2
    page.close()


def test_the_api_returns_the_command_lines_json(address: str, capsys):
    client = Client(address, verbose=False)
    report = client.predict(
        model="atlas",
        task="counterfact",
        instruction="",
        prompt="The capital of Norway is",
        target="Lima",
        strength=1.0,
        method="",
        api_name="/edit",
    )
    assert (
        report["before"].startswith("Oslo")
        and report["after"].startswith("Lima")
        and report["generality"]
        and report["seconds"] > 0
    )
    edit = ["--prompt", "The capital of Norway is", "--target", "Lima"]
    assert main(["edit", *edit, "--device", "cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    timings = {"seconds", "edit_seconds", "target_probability", "changed"}
    assert {k: v for k, v in report.items() if k not in timings} == {
        k: v for k, v in printed.items() if k not in timings
    }
    assert report["target_probability"]["after"] == pytest.approx(
        printed["target_probability"]["after"], abs=1e-4
    )
    asked = client.predict("What is the capital of Norway?", api_name="/ask")
    assert asked["before"].startswith("Oslo") and asked["after"].startswith("Lima")
    assert (
        Client(address, verbose=False)
        .predict("The capital of Norway is", api_name="/ask")["after"]
        .startswith("Oslo")
    )
