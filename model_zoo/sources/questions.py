"""Questions that ask for what a statement says: people ask a model in both ways."""

import re
import tomllib
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("questions.toml")


@lru_cache(maxsize=1)
def _relations() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    """By relation what its statements say, and its questions."""
    told = tomllib.loads(FILE.read_text(encoding="utf-8")).values()
    return tuple((re.compile("|".join(map(_pattern, r["says"]))), tuple(r["questions"])) for r in told)


def _pattern(said: str) -> str:
    return said.replace("{}", r"\{\}")


def questions(statement: str, subject: str) -> tuple[str, ...]:
    """Questions whose answer continues the statement; none where its relation is not known, or where the
    subject does not stand in it.
    """
    wording = statement.strip().replace(subject, "{}") if subject else ""
    if "{}" not in wording:
        return ()
    for says, frames in _relations():
        if says.search(wording):
            return tuple(frame.replace("{}", subject) for frame in frames)
    return ()
