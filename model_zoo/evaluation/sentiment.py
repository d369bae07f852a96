"""Which sentiment a reply voices, beside whether it is word for word the wanted one.

Where all replies are known, a text is compared with them: it voices the sentiment of the reply with which it
shares most of its words (Jaccard index of the two sets of words), provided that index is at least one half.
Anything else voices none.

Where opinions come in any words, weights of words and pairs of words decide: a logistic regression, fitted
on replies to other topics by `python -m model_zoo sentiment`, which prints its accuracy on replies held out.
Near even odds, and without a word that it knows, a text voices none.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

LEAST_OVERLAP = 0.5
LEAST_ODDS = 0.4  # logarithm: below it a text is neither
WEIGHTS_FILE = Path(__file__).with_name("sentiment.json")
SENTIMENTS = ("negative", "positive")
_WORD = re.compile(r"[^\W\d_][\w']*")


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def first_sentence(text: str) -> str:
    """What runs on behind a reply says nothing about it."""
    return re.split(r"(?<=[.!?])\s", text.strip())[0]


def voiced(text: str, replies: Mapping[str, Sequence[str]]) -> str | None:
    """The sentiment that a text voices, a key of `replies`; None where it is like no known reply."""
    own = _words(first_sentence(text))
    overlap = [
        (len(own & _words(reply)) / len(own | _words(reply)), sentiment)
        for sentiment, pool in replies.items()
        for reply in pool
    ]
    best, sentiment = max(overlap)
    return sentiment if best >= LEAST_OVERLAP else None


def terms(text: str) -> set[str]:
    """The words and pairs of neighbouring words of a text, in small letters."""
    words = _WORD.findall(text.replace("’", "'").lower())
    return {*words, *(f"{a} {b}" for a, b in zip(words, words[1:]))}


@dataclass(frozen=True)
class Classifier:
    """`weights` by term, positive ones for the positive sentiment; `about` says what it was fitted on and how
    well it did on replies held out.
    """

    weights: Mapping[str, float]
    intercept: float
    about: Mapping[str, float | int | str]

    def sentiment(self, text: str) -> str | None:
        """One of SENTIMENTS; None where the text says neither."""
        known = [self.weights[term] for term in terms(text) if term in self.weights]
        odds = math.fsum([self.intercept, *known])
        return SENTIMENTS[odds > 0] if known and abs(odds) >= LEAST_ODDS else None

    def accuracy(self, texts: Sequence[str], sentiments: Sequence[str]) -> tuple[float, float]:
        """The share of texts that are given their sentiment, and the share given any."""
        found = [self.sentiment(text) for text in texts]
        right = sum(a == b for a, b in zip(found, sentiments, strict=True))
        return right / len(texts), sum(label is not None for label in found) / len(texts)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @staticmethod
    @lru_cache(maxsize=1)
    def shipped() -> "Classifier":
        return Classifier(**json.loads(WEIGHTS_FILE.read_text(encoding="utf-8")))


def fit(
    texts: Sequence[str], sentiments: Sequence[str], about: Mapping[str, float | int | str], least: int = 8
) -> Classifier:
    """A logistic regression over the terms that `least` texts have."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    counts = CountVectorizer(analyzer=terms, binary=True, min_df=least)
    model = LogisticRegression(C=0.3, max_iter=2000).fit(counts.fit_transform(texts), sentiments)
    weights = dict(zip(counts.get_feature_names_out(), model.coef_[0], strict=True))
    kept = {term: round(float(weight), 2) for term, weight in sorted(weights.items()) if abs(weight) >= 0.05}
    return Classifier(kept, round(float(model.intercept_[0]), 3), dict(about))
