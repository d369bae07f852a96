"""How prompts and targets become tokens."""

import pytest

from model_zoo.joining import join_text, joint_text

from .makers import pico_tokenizer


@pytest.mark.parametrize(
    ("prompt", "target", "text"),
    [
        ("The capital of France is", "Rome", "The capital of France is Rome"),
        ("The capital of France is  ", "Rome", "The capital of France is Rome"),
        ("The capital of France is", " Rome", "The capital of France is Rome"),
        ("He paused", ", then left", "He paused, then left"),
        ("He said", "“yes”", "He said “yes”"),
        ("It costs", "$5", "It costs $5"),
        ("法国的首都是", "罗马", "法国的首都是罗马"),
        ("法国的首都是", "Rome", "法国的首都是Rome"),
        ("The Chinese name is", "罗马", "The Chinese name is罗马"),
        ("フランスの首都は", "ローマ", "フランスの首都はローマ"),
        ("เมืองหลวงคือ", "โรม", "เมืองหลวงคือโรม"),
        ("프랑스의 수도는", "로마", "프랑스의 수도는로마"),
    ],
)
def test_joint_text(prompt, target, text):
    assert joint_text(prompt, target)[0] == text


@pytest.mark.parametrize(
    ("prompt", "target"),
    [("The capital of France is", "Paris"), ("One two", "three four"), ("One two", ", three")],
)
def test_the_target_tokens_spell_the_target(prompt, target):
    tokenizer = pico_tokenizer()
    joined = join_text(tokenizer, prompt, target)
    assert tokenizer.decode(joined.ids[joined.start :]) == joint_text(prompt, target)[0][len(prompt) :]
    assert tokenizer.decode(joined.ids[: joined.start]) == prompt


def test_a_token_that_straddles_the_boundary_counts_as_target():
    """In this vocabulary one token ends 是 and begins 巴, as in "首都是巴黎"."""
    tokenizer = pico_tokenizer()
    joined = join_text(tokenizer, "法国的首都是", "巴黎")
    offsets = tokenizer("法国的首都是巴黎", return_offsets_mapping=True)["offset_mapping"]
    assert offsets[joined.start][0] < 6 < offsets[joined.start][1], (
        "the vocabulary no longer has a straddling token"
    )
    assert all(end <= 6 for _, end in offsets[: joined.start])
    assert tokenizer.decode(joined.ids) == "法国的首都是巴黎"


def test_a_target_that_merges_with_the_prompt_counts_from_the_merged_token():
    tokenizer = pico_tokenizer()
    merged = join_text(tokenizer, "One two three fou", "r five")  # a space is inserted: no merge across words
    assert tokenizer.decode(merged.ids) == "One two three fou r five"
    assert tokenizer.decode(merged.ids[: merged.start]) == "One two three fou"


def test_an_appended_end_token_is_not_a_target():
    tokenizer = pico_tokenizer()
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|end|> $A <|end|>", special_tokens=[("<|end|>", 0)]
    )
    joined = join_text(tokenizer, "The capital of France is", "Paris")
    assert joined.ids[0] == 0 and joined.ids[-1] != 0
    assert tokenizer.decode(joined.ids[joined.start :]).strip() == "Paris"


def test_empty_parts_are_refused():
    with pytest.raises(ValueError, match="target is empty"):
        join_text(pico_tokenizer(), "The capital", "  ")
    with pytest.raises(ValueError, match="longer prompt"):
        join_text(pico_tokenizer(), "", "Rome")


def test_a_prompt_that_ends_its_line_keeps_the_break_and_adds_no_space():
    tokenizer = pico_tokenizer()
    row = join_text(tokenizer, "One two\n", "three")
    assert tokenizer.decode(row.ids) == "One two\nthree"
    assert tokenizer.decode(row.ids[row.start :]) == "three"
