"""Streaming: the edit is seen at every token through a real Gradio generator; no thread is left changed."""

import threading
import time

import gradio as gr
import pytest
import torch
from gradio_client import Client

from model_zoo.changes import patch_of
from model_zoo.generation import first_line, generate, stream

from .makers import pico_backbone, random_delta

PROMPT = "One two three"


def pair(backbone):
    return [None, patch_of(random_delta(backbone, size=0.6))]


def test_the_last_streamed_item_is_what_generate_returns(backbone):
    patches = pair(backbone)
    streamed = list(stream(backbone, [PROMPT, PROMPT], patches, 8))
    assert len(streamed) >= 2
    assert streamed[-1] == generate(backbone, [PROMPT, PROMPT], patches, 8)


def test_rows_of_different_lengths_do_not_disturb_each_other(backbone):
    prompts = ["One", "What do you think of jazz? One two three"]
    together = generate(backbone, prompts, max_new_tokens=6)
    assert together == [generate(backbone, [p], max_new_tokens=6)[0] for p in prompts]


def test_before_is_the_base_and_after_the_edit(backbone):
    patches = pair(backbone)
    before, after = generate(backbone, [PROMPT, PROMPT], patches, 8)
    assert before == generate(backbone, [PROMPT], max_new_tokens=8)[0]
    assert after == generate(backbone, [PROMPT], patches[1:], 8)[0]
    assert before != after


def test_through_a_real_gradio_generator_the_fifth_token_still_sees_the_delta():
    backbone = pico_backbone("gpt2")
    patches = pair(backbone)
    expected = generate(backbone, [PROMPT, PROMPT], patches, 8)
    grads: dict[int, bool] = {}

    def handler(text):
        grads[threading.get_ident()] = torch.is_grad_enabled()
        for before, after in stream(backbone, [text, text], patches, 8):
            grads[threading.get_ident()] = torch.is_grad_enabled()
            yield before + "|" + after

    with gr.Blocks() as page:
        box, out = gr.Textbox(), gr.Textbox()
        box.submit(handler, box, out, api_name="run")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        for _ in range(3):
            assert list(client.submit(PROMPT, api_name="/run"))[-1] == "|".join(expected)
    finally:
        page.close()
    assert grads and all(grads.values())
    assert torch.is_grad_enabled()


def test_closing_the_stream_stops_the_generation(gpt2):
    before = threading.active_count()
    items = stream(gpt2, [PROMPT], None, 100)
    next(items)
    items.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_an_error_in_the_thread_reaches_the_reader(gpt2):
    with pytest.raises(ValueError, match="between 1 and 255 tokens"):
        list(stream(gpt2, ["word " * 300]))


def test_first_line():
    assert first_line("\n Paris.\nMore") == "Paris."
