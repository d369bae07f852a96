"""Which stored edit a prompt is about: cosine of its characters' frequencies (tf-idf of 2- to 5-grams)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from ..backbone import Backbone
from ..changes import StoredEdit


@dataclass(frozen=True)
class NearestWords:
    """The nearest stored edit, if it is at least that near."""

    least: float

    def __call__(self, prompt: str, stored: Sequence[StoredEdit], backbone: Backbone) -> Sequence[StoredEdit]:
        if not stored:
            return []
        vectorizer, known = _index(tuple(edit.prompt for edit in stored))
        near = (vectorizer.transform([prompt]) @ known.T).toarray()[0]
        best = int(near.argmax())
        return [stored[best]] if near[best] >= self.least else []


@functools.lru_cache(maxsize=8)
def _index(prompts: tuple[str, ...]):
    """(fitted vectorizer, rows of the prompts) of one set of stored edits."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    return vectorizer, vectorizer.fit_transform(prompts)
