"""Names of things that do not exist, for edits about an entity the model has never met."""

import hashlib
import random
from collections.abc import Sequence

HELD_OUT_SHARE = 0.25  # of all subjects, real and invented

_ONSETS = "b br c ch cl d dr f fl g gr h j k kl l m n p pr qu r s sh sk st str t th tr v w y z".split()
_VOWELS = "a e i o u ae ai ea io ou y".split()
_CODAS = "b ck d dor ff g l ld lm m n nd ng nt p r rd rk rn s sh sk st t th v x z".split()
_ENDINGS = ["", "", "", "a", "ia", "o", "en", "is", "on", "ar", "eth", "ina", "ova", "wick", "mere"]


def invented_word(rng: random.Random) -> str:
    """One pronounceable, capitalised word."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2))))
    return ("".join(syllables) + rng.choice(_CODAS) + rng.choice(_ENDINGS)).capitalize()


def stable_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


def invented_name(like: Sequence[str], rng: random.Random, split: str) -> str:
    """A new subject shaped like one of the given real names (article, number of words, case).

    The names of the splits "train" and "test" are disjoint by a hash of the name.
    """
    real = rng.choice(like)
    article = "the " if real.startswith("the ") else ""
    words = min(len(real.removeprefix("the ").split()), 2)
    while True:
        name = " ".join(invented_word(rng) for _ in range(words))
        if real.islower():
            name = name.lower()
        if (stable_share(name) < HELD_OUT_SHARE) == (split == "test"):
            return article + name
