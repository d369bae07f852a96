"""How prompts and targets become tokens."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from model_zoo.backbone import Backbone
from model_zoo.changes import patch_of
from model_zoo.generation import generate, stream
from model_zoo.inspecting.inside import subject_tokens
from model_zoo.joining import decoded, join_text, joint_text
from model_zoo.methods import hyperparameters, load_method
from model_zoo.methods.capture import request_row
from model_zoo.methods.values import subject_end
from model_zoo.request import EditRequest

from .makers import TEXT, pico_backbone, pico_tokenizer
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


# characters of Chinese alone: no token straddles a boundary
LEARNT = [text for text in TEXT if text.isascii()] + [*"法国的首都是巴黎"]


def byte_fallback() -> PreTrainedTokenizerFast:
    """As Llama's: a space is a letter, what is not known is spelt in bytes, a first token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        LEARNT, trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    told = json.loads(tokenizer.to_str())
    told["model"]["byte_fallback"] = True
    for i in range(256):
        told["model"]["vocab"][f"<0x{i:02X}>"] = len(told["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(told))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def pieces() -> PreTrainedTokenizerFast:
    """As BERT's for Chinese: every character a word, spaces between words, [CLS] first and [SEP] last."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(LEARNT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def unigram() -> PreTrainedTokenizerFast:
    """As sentencepiece's unigrams: a space before the first word, an end token behind the last."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(LEARNT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )


HABITS = {
    "byte-level": lambda: pico_tokenizer(LEARNT),
    "byte fallback": byte_fallback,
    "pieces": pieces,
    "unigram": unigram,
}
PAIRS = [
    ("The capital of France is", "Paris"),
    ("法国的首都是", "巴黎"),
    ("What do you think of jazz?", "One two"),
    ("The capital of France is", "巴黎"),
    ("法国的首都是", "Paris"),
]
SPELT = [("The capital of France is", "Ōsaka"), ("法国的首都是", "鄂州"), ("鄂", "Paris")]  # letters unknown


@pytest.fixture(params=HABITS, scope="module")
def habit(request) -> Backbone:
    """A pico model behind a tokenizer of each habit."""
    tokenizer = HABITS[request.param]()
    made = pico_backbone("gpt2", vocab_size=len(tokenizer), eos_token_id=None, n_positions=64)
    return Backbone(made.model, tokenizer, request.param)


def pairs_of(habit: Backbone) -> list[tuple[str, str]]:
    """What its vocabulary can write."""
    return PAIRS + (SPELT if habit.name.startswith("byte") else [])


def test_a_rows_target_is_the_target_whatever_the_tokenizers_habit(habit):
    for prompt, target in pairs_of(habit):
        row = habit.join(prompt, target)
        assert row.ids[: row.start] == habit.ids(prompt), prompt
        assert not {*row.ids[row.start :]} & {*habit.tokenizer.all_special_ids}
        text, written = decoded(habit.tokenizer, [[*row.ids[row.start :]], [*row.ids]])
        assert text.strip() == target
        assert written == joint_text(prompt, target)[0]
        assert habit.stopped(row).ids == (*row.ids, habit.end_id)


def test_an_edit_is_said_and_ended_whatever_the_tokenizers_habit(habit):
    for prompt, target in pairs_of(habit)[::3]:
        method = load_method("ft", habit, hyper=hyperparameters("ft", {"lr": 0.02, "steps": 40}))
        (change,) = method.propose([EditRequest(prompt, target)])
        texts = generate(habit, [prompt, PAIRS[2][0]], [patch_of(change), None], max_new_tokens=20)
        assert texts[0] == f"{target}."  # the sentence is learnt to its end
        *_, last = stream(habit, [prompt], [patch_of(change)], max_new_tokens=20)
        assert last == texts[:1]


def test_a_subject_is_found_whatever_the_tokenizers_habit(habit):
    for prompt, subject in (("The capital of France is", "France"), ("法国的首都是", "法国")):
        place = subject_end(habit, prompt, prompt, subject)
        before = decoded(habit.tokenizer, [[*habit.ids(prompt)[: place + 1]]])[0]
        assert before == prompt[: prompt.index(subject) + len(subject)]
        start, end = subject_tokens(habit, prompt, subject)
        assert end == place + 1
        assert decoded(habit.tokenizer, [[*habit.ids(prompt)[start:end]]])[0].strip() == subject
