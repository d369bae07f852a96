"""Personal facts ("My dog is called" -> "Bello"): what people type first when an edit is about nothing the
world knows.
"""

import random
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .invented import HELD_OUT_SHARE, invented_word, stable_share

FILE = Path(__file__).parent / "facts" / "personal.toml"
HELD_OUT_THINGS = 2  # of every group: never seen in editor training


@dataclass(frozen=True)
class PersonalGroup:
    """A kind of personal fact: phrasings with `{o}` (owner) and `{t}` (thing), and answers ("" stands for a
    name).
    """

    things: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def forms(self) -> tuple[str, ...]:
        return self.statements + self.questions

    def split_things(self, split: str) -> tuple[str, ...]:
        return self.things[-HELD_OUT_THINGS:] if split == "test" else self.things[:-HELD_OUT_THINGS]


@dataclass(frozen=True)
class PersonalFact:
    group: PersonalGroup
    owner: str
    thing: str
    answer: str

    def prompt(self, form: str) -> str:
        text = form.format(o=self.owner, t=self.thing)
        return text[:1].upper() + text[1:]


@lru_cache(maxsize=1)
def _words() -> tuple[tuple[PersonalGroup, ...], tuple[str, ...], tuple[str, ...]]:
    words = tomllib.loads(FILE.read_text(encoding="utf-8"))
    owners, names = tuple(words.pop("owners")), tuple(words.pop("names"))
    groups = tuple(
        PersonalGroup(
            tuple(g["things"]),
            tuple(g["statements"]),
            tuple(g["questions"]),
            () if g["answers"] == "names" else tuple(g["answers"]),
        )
        for g in words.values()
    )
    return groups, owners, names


def _name(names: tuple[str, ...], rng: random.Random, split: str) -> str:
    """A first name or a made-up word; those of the two splits are disjoint by a hash."""
    while True:
        name = rng.choice(names) if rng.random() < 0.5 else invented_word(rng)
        if (stable_share(name) < HELD_OUT_SHARE) == (split == "test"):
            return name


def personal_facts(n: int, rng: random.Random, split: str) -> list[PersonalFact]:
    """n facts about different things of one group, with different owners; the first is the one to edit, the
    others stay.
    """
    groups, owners, names = _words()
    group = rng.choice(groups)
    things = rng.sample(group.split_things(split), min(n, len(group.split_things(split))))
    answers = [_name(names, rng, split) if not group.answers else rng.choice(group.answers) for _ in things]
    return [
        PersonalFact(group, owner, thing, a)
        for owner, thing, a in zip(rng.sample(owners, len(things)), things, answers, strict=True)
    ]
