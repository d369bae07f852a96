"""How prompts and targets become tokens."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from model_zoo.backbone import Backbone
from model_zoo.changes import patch_of
from model_zoo.generation import generate
from model_zoo.joining import join_text, joint_text
from model_zoo.methods import load_method
from model_zoo.methods.capture import request_row
from model_zoo.request import EditRequest

from .makers import pico_backbone, pico_tokenizer
from .test_session import same


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


# ---- tokenizers of every habit -----------------------------------------------------------------------------


def backbone_with(tokenizer: PreTrainedTokenizerFast) -> Backbone:
    """The pico model behind another tokenizer of its words."""
    return Backbone(pico_backbone("gpt2").model, tokenizer, "pico")


def test_a_tokenizer_that_appends_its_end_token_is_generated_behind_as_any_other():
    plain, ending = pico_tokenizer(), pico_tokenizer()
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", ending.eos_token_id)]
    )
    assert ending("One")["input_ids"][-1] == ending.eos_token_id
    one, other = backbone_with(plain), backbone_with(ending)
    assert other.ids("One two") == one.ids("One two")
    assert other.silent("One two") == one.silent("One two")
    assert generate(other, ["One two", "It is"]) == generate(one, ["One two", "It is"])
    request = EditRequest("One two", "seven", instruction="Change it")
    rows = [request_row(backbone, request, ".") for backbone in (one, other)]
    assert rows[0] == rows[1]
    edits = [load_method("ft-l", backbone).propose([request])[0] for backbone in (one, other)]
    assert same(patch_of(edits[0]), edits[1])


def test_a_tokenizer_without_padding_and_end_generates_and_edits():
    bare = PreTrainedTokenizerFast(tokenizer_object=pico_tokenizer().backend_tokenizer)
    assert bare.pad_token_id is None and bare.eos_token_id is None
    backbone, whole = backbone_with(bare), backbone_with(pico_tokenizer())
    prompts = ["One two", "The capital of France"]
    assert generate(backbone, prompts) == generate(whole, prompts)
    load_method("ft-l", backbone).propose([EditRequest("One two", "seven")])
    with pytest.raises(ValueError, match="has no end token"):
        backbone.silent("One two")


def test_a_target_that_the_tokenizer_has_no_tokens_for_is_refused():
    words = Tokenizer(models.WordLevel({"<unk>": 0, "One": 1, "two": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    few = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    assert join_text(few, "One", "two").start == 1
    assert join_text(few, "Three", "two").start == 1  # what is asked may hold what it does not know
    with pytest.raises(ValueError, match="has no tokens for parts of 'seven'"):
        join_text(few, "One", "seven")
