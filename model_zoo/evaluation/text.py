"""What a generated text is worth: how texts are compared, and what counts as degenerate or fluent.

What the figures made of it mean is in metrics.py.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from ..backbone import Backbone
from ..generation import generate
from ..joining import unspaced

MANY = 6  # words from which on a text's share of repetitions says something
SHORT = 5  # words of a base continuation that count as its answer where none is known
_STUTTER = re.compile(r"([^\W\d]{3,}?)\1\1")  # "featherfeatherfeather"
_CLAUSE = re.compile(r"[.!?;:,\n]")


RULE = (
    "Texts are compared in Unicode's NFC form, without zero-width characters, repeated white space, and "
    "spaces between characters of scripts that are written without them, to the end of a word or number. "
    "Case counts unless the prompt or the answer has no capitals."
)
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")


def comparable(text: str, small: bool = False) -> str:
    """A text as RULE compares it; `small`: without regard to case."""
    text = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())
    if any(map(unspaced, text)):
        text = "".join(
            c
            for before, c, behind in zip(" " + text, text, text[1:] + " ")
            if not (c == " " and unspaced(before) and unspaced(behind))
        )
    return text.lower() if small else text


def typed_small(prompt: str) -> bool:
    """Whether a prompt is typed without capitals: models answer such a prompt without them too."""
    return prompt == prompt.lower()


def starts_with(text: str, target: str, small: bool = False) -> bool:
    """Whether a continuation begins with the target, by RULE; `small`: the prompt has no capitals."""
    small = small or target == target.lower()
    text, target = comparable(text, small), comparable(target, small)
    rest = text[len(target) :]
    inside_word = rest[:1].isalnum() and target[-1:].isalnum() and not unspaced(target[-1])
    inside_number = target[-1:].isdigit() and re.match(r"[.,]\d", rest)
    return text.startswith(target) and not inside_word and not inside_number


def contains(text: str, target: str, small: bool = False) -> bool:
    """Whether a text says the target anywhere, as words of its own: how an answer in a chat is read (WILD,
    arXiv 2502.11177). Case counts as in `starts_with`.
    """
    text = comparable(text)
    starts = [0, *(i + 1 for i, c in enumerate(text) if not c.isalnum() or unspaced(c))]
    return any(starts_with(text[i:], target, small) for i in starts)


def says(text: str, answer: str, small: bool = False, in_chat: bool = False) -> bool:
    """Whether a text gives an answer: at once, or anywhere in the sentences of a chat."""
    return (contains if in_chat else starts_with)(text, answer, small)


def follows(text: str, target: str, small: bool = False, in_chat: bool = False) -> bool:
    """Whether the edited model's text is a success: it gives the target, and does not repeat itself."""
    return says(text, target, small, in_chat) and not degenerate(text)


def base_answer(before: str, answer: str = "", small: bool = False) -> str:
    """The part of the base continuation that locality protects: the known answer if it is given, else the
    whole.
    """
    return answer if answer and starts_with(before, answer, small) else before.rstrip(".")


def short_answer(before: str) -> str:
    """The beginning of a base continuation that answers a prompt: at most SHORT words of its first clause."""
    return " ".join(_CLAUSE.split(before.strip())[0].split()[:SHORT])


def is_short(before: str) -> bool:
    """Whether a base continuation is an answer of at most SHORT words: a mark ends them, or no more come."""
    text = before.strip()
    clause = _CLAUSE.split(text)[0]
    return 0 < len(clause.split()) <= (SHORT if clause != text else SHORT - 1)


def protected(before: str, answer: str = "", small: bool = False, in_chat: bool = False) -> str:
    """What locality protects of a base continuation: the known answer if the base gives it, else its short
    answer.
    """
    return answer if answer and says(before, answer, small, in_chat) else short_answer(before)


def unchanged(before: str, after: str, answer: str = "", small: bool = False, in_chat: bool = False) -> bool:
    """Generated locality: both continuations, cut to the base answer's length, are the same string; in a
    chat, both give the known answer.
    """
    if before == after:
        return True
    if in_chat and answer and contains(before, answer, small):
        return contains(after, answer, small)
    kept = base_answer(before, answer, small)
    return starts_with(after, kept, small) if kept else not after


def agree(one: str, other: str) -> bool:
    """Whether two answers to one question are the same as far as the shorter one goes."""
    return starts_with(one, other) or starts_with(other, one)


def degenerate(text: str) -> bool:
    """Whether a text repeats itself: one word three times in a row, or inside a word a part of three letters
    and more; or, of six words and more, one that makes up half of them, or fewer than half of the pairs
    of neighbours different.

    Such a text is no success, whatever it begins with (degeneration: Holtzman et al. 2020, arXiv 1904.09751).
    """
    words = _words(text)
    thrice = any(a == b == c for a, b, c in zip(words, words[1:], words[2:]))
    thrice = thrice or any(map(_STUTTER.search, words))
    if thrice or len(words) < MANY:
        return thrice
    pairs = list(zip(words, words[1:]))
    return Counter(words).most_common(1)[0][1] * 2 >= len(words) or len(set(pairs)) * 2 < len(pairs)


def _words(text: str) -> list[str]:
    """The words of a text in small letters, without marks, a number being one; the characters of a script
    that is written without spaces.
    """
    return [
        part
        for word in re.findall(r"\d+(?:[.,]\d+)*|[^\W\d]+", text.lower())
        for part in (word if any(map(unspaced, word)) else [word])
    ]


def fluency(text: str) -> float | None:
    """(2 H2 + 4 H3) / 6 in bits, H_n the entropy of the text's word n-grams (Meng et al. 2022); None below
    three words.

    Characters stand for words in scripts written without spaces. Repetition lowers it.
    """
    words = [c for c in text if not c.isspace()] if any(map(unspaced, text)) else text.split()
    if len(words) < 3:
        return None
    return (2 * _entropy(words, 2) + 4 * _entropy(words, 3)) / 6


def _entropy(words: Sequence[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(counts.values())
    return -sum(c / total * math.log2(c / total) for c in counts.values())


def recall(
    backbone: Backbone, prompts: Sequence[tuple[str, str]], progress=iter
) -> tuple[float, list[tuple[str, str, str]]]:
    """Share of (prompt, answer) pairs that greedy generation answers rightly, and the misses (prompt, answer,
    said).
    """
    misses = []
    ordered = sorted(prompts, key=lambda pair: len(pair[0]))
    for i in progress(range(0, len(ordered), 256)):
        part = ordered[i : i + 256]
        said = generate(backbone, [prompt for prompt, _ in part], max_new_tokens=16)
        misses += [(p, a, s) for (p, a), s in zip(part, said, strict=True) if not starts_with(s, a)]
    return 1 - len(misses) / len(ordered), misses
