"""Which stored edits a prompt is about, by their text: cosine of characters' frequencies (tf-idf of 2- to
5-grams), and the words that name an edit's subject.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..backbone import Backbone
from ..changes import StoredEdit
from ..subjects import find_subject

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class NearestWords:
    """The nearest stored edits, `most` of them, that are at least that near; of one prompt the last."""

    least: float
    most: int = 1

    def __call__(self, prompt: str, stored: Sequence[StoredEdit], backbone: Backbone) -> Sequence[StoredEdit]:
        edits = latest(stored)
        if not edits:
            return []
        near = self.likeness(prompt, edits)
        best = (-near).argsort(kind="stable")[: self.most]
        return [edits[i] for i in best if near[i] >= self.least]

    def likeness(self, prompt: str, edits: Sequence[StoredEdit]) -> np.ndarray:
        """[n]: the cosine of the prompt with each edit's."""
        vectorizer, known = _index(tuple(edit.prompt for edit in edits))
        return (vectorizer.transform([prompt]) @ known).toarray()[0]


class NearestSubject(NearestWords):
    """The same, but half of the likeness is the share of the words of an edit's subject that the prompt
    names: among a thousand edits most prompts share their wording with several.
    """

    def likeness(self, prompt: str, edits: Sequence[StoredEdit]) -> np.ndarray:
        said = words(prompt)
        named = np.array([share_named(edit, said) for edit in edits])
        return (super().likeness(prompt, edits) + named) / 2


def latest(stored: Sequence[StoredEdit]) -> list[StoredEdit]:
    """The stored edits, of those for one prompt the last."""
    return list({edit.prompt: edit for edit in stored}.values())


@functools.lru_cache(maxsize=8192)
def words(text: str) -> frozenset[str]:
    """A text's words, whatever their case."""
    return frozenset(_WORD.findall(text.casefold()))


def subject_words(edit: StoredEdit) -> frozenset[str]:
    """The words that name what an edit is about; all of its prompt where none is known or found."""
    return words(edit.subject or find_subject(edit.prompt) or edit.prompt)


def share_named(edit: StoredEdit, said: frozenset[str]) -> float:
    """Which share of the words that name an edit's subject is said."""
    subject = subject_words(edit)
    return len(subject & said) / max(len(subject), 1)


@functools.lru_cache(maxsize=8)
def _index(prompts: tuple[str, ...]):
    """(fitted vectorizer, the prompts as columns) of one set of stored edits."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(prompts).T.tocsr()
