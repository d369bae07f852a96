"""Which sentiment a reply voices, beside whether it is word for word the wanted one.

A reply is compared with the known replies of both sentiments: it voices that of the one with which it shares
most of its words (Jaccard index of the two sets of words), provided that index is at least one half. Anything
else voices none.
"""

import re
from collections.abc import Mapping, Sequence

LEAST_OVERLAP = 0.5


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def voiced(text: str, replies: Mapping[str, Sequence[str]]) -> str | None:
    """The sentiment that a text voices, a key of `replies`; None where it is like no known reply."""
    first = re.split(r"(?<=[.!?])\s", text.strip())[0]  # what runs on behind the reply says nothing about it
    own = _words(first)
    overlap = [
        (len(own & _words(reply)) / len(own | _words(reply)), sentiment)
        for sentiment, pool in replies.items()
        for reply in pool
    ]
    best, sentiment = max(overlap)
    return sentiment if best >= LEAST_OVERLAP else None
