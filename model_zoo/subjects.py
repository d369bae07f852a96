"""What a prompt is about: finding the words that name its subject."""

import re
from collections.abc import Iterable

# words that open a sentence and are no part of a name, and small words that names may hold inside
_OPENERS = frozenset(
    (
        "a an the in on at of by for from to my our your his her its their this that these those what who "
        "whom whose which "
        "when where why how is are was were do does did can could if as it he she they we i you there here "
        "tell please"
    ).split()
)
_INSIDE_NAMES = frozenset("of the and de la le von van der del di da du al bin ibn y".split())
_WORD = re.compile(r"[^\W_]+(?:[-'’.&][^\W_]+)*", re.UNICODE)


def normalised(prompt: str) -> str:
    """A prompt for comparison: lower case, single spaces, no end mark."""
    return " ".join(prompt.casefold().split()).rstrip(" ?.:,")


def named_in(prompt: str, name: str) -> str | None:
    """A name as it stands in the prompt, whatever its case; None where it does not stand there as whole
    words.
    """
    for found in re.finditer(re.escape(name), prompt, re.IGNORECASE):
        before, after = prompt[: found.start()][-1:], prompt[found.end() :][:1]
        if not (_joins(before, name[:1]) or _joins(name[-1:], after)):
            return found.group()
    return None


def _joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word, in scripts that put spaces between words."""
    return left.isalnum() and right.isalnum() and left.isascii() and right.isascii()


def find_subject(prompt: str, names: Iterable[str] = ()) -> str | None:
    """The subject of a prompt, as it stands there: the longest of the known `names`, else the longest run of
    capitalised words.

    A capital at the start of the prompt says nothing about a word such as "The" or "What". None where nothing
    is found.
    """
    known = [found for name in names if name and (found := named_in(prompt, name))]
    return max(known, key=len) if known else _capitalised_run(prompt)


def _capitalised_run(prompt: str) -> str | None:
    words = list(_WORD.finditer(prompt))
    followed = _before_a_capital(words)
    runs: list[tuple[int, int]] = []  # (start, end) in characters
    open_run = False
    for i, word in enumerate(words):
        text = word.group()
        together = open_run and prompt[words[i - 1].end() : word.start()].isspace()
        if text != text.lower() and not (i == 0 and text.lower() in _OPENERS):
            start = runs.pop()[0] if together else word.start()
            runs.append((start, word.end()))
            open_run = True
        else:  # "House of Commons": a small word goes on only if a capitalised one follows
            open_run = together and text.lower() in _INSIDE_NAMES and followed[i]
    spans = [prompt[start:end] for start, end in runs]
    return max(spans, key=len, default=None)


def _before_a_capital(words: list[re.Match]) -> list[bool]:
    """Of each word whether the next one behind it that is not a small word of names is capitalised."""
    found, capital = [False] * len(words), False
    for i in range(len(words) - 1, -1, -1):
        found[i], text = capital, words[i].group()
        if text.lower() not in _INSIDE_NAMES:
            capital = text[:1].isupper()
    return found
