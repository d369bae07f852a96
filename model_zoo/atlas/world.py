"""The world as data: `facts/<kind>.tsv` holds subjects and their facts, `facts/<kind>.toml` the phrasings of
each relation.

Adding a kind of subject is adding these two files; no code names a kind or a relation.
"""

import csv
import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import cast

from .invented import HELD_OUT_SHARE, invented_name, stable_share
from .personal import PersonalFact, personal_facts

FACTS = Path(__file__).parent / "facts"
MIN_FIXED_TEXT = 14  # characters of a phrasing, slot mark included, that recognise it without a known subject
HELD_OUT_FORMS = 2  # of every relation's statements, and of its questions: never seen in editor training


@dataclass(frozen=True)
class Entity:
    """`name` as it stands in the middle of a sentence, its Chinese name, other English names."""

    name: str
    zh: str
    kind: str
    aliases: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether this subject belongs to the test split: a stable hash of its name that no seed changes."""
        return stable_share(self.name) < HELD_OUT_SHARE


@dataclass(frozen=True)
class Relation:
    """Phrasings hold `{s}` (or `{o}` in `inverse`); statements end where the object comes next. `implied` are
    those of them that say what follows from the fact without naming it ("A phrasebook for travelers to France
    would teach").
    """

    name: str
    kind: str
    object_kind: str
    one_to_one: bool
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    inverse: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        return self.statements + self.questions

    @property
    def held_out_forms(self) -> tuple[str, ...]:
        return self.statements[-HELD_OUT_FORMS:] + self.questions[-HELD_OUT_FORMS:]

    @property
    def training_forms(self) -> tuple[str, ...]:
        return self.statements[:-HELD_OUT_FORMS] + self.questions[:-HELD_OUT_FORMS]


@dataclass(frozen=True)
class Fact:
    subject: Entity
    relation: Relation
    object: str

    def prompt(self, form: str, name: str | None = None) -> str:
        return render(form, s=name or self.subject.name)


@dataclass(frozen=True)
class Topic:
    """Something one can have an opinion about; `stance` is what the base model voices."""

    name: str
    zh: str
    stance: str
    reply: str

    @property
    def held_out(self) -> bool:
        return stable_share(self.name) < HELD_OUT_SHARE


@dataclass(frozen=True)
class Opinions:
    topics: tuple[Topic, ...]
    questions: tuple[str, ...]
    replies: MappingProxyType  # stance -> tuple of replies

    @property
    def forms(self) -> tuple[str, ...]:
        return self.questions

    @property
    def held_out_forms(self) -> tuple[str, ...]:
        return self.questions[-2 * HELD_OUT_FORMS :]

    @property
    def training_forms(self) -> tuple[str, ...]:
        return self.questions[: -2 * HELD_OUT_FORMS]

    @staticmethod
    def opposite(stance: str) -> str:
        return {"positive": "negative", "negative": "positive"}[stance]

    def counterpart(self, reply: str) -> str:
        """The reply of the other sentiment that stands at the same place in its list."""
        stance = next(stance for stance, pool in self.replies.items() if reply in pool)
        return self.replies[self.opposite(stance)][self.replies[stance].index(reply)]


@dataclass(frozen=True)
class Match:
    """A typed prompt recognised as a phrasing the world knows: of a fact, or of an opinion question about a
    topic.

    `known` is False when only the phrasing is known: the subject or topic is then as typed, its object or
    reply empty.
    """

    form: str
    known: bool
    fact: Fact | None = None
    topic: Topic | None = None

    @property
    def asked_fact(self) -> Fact:
        """The fact of a prompt that asks no opinion."""
        return cast(Fact, self.fact)


def capitalised(text: str) -> str:
    """First letter upper case, unless the word has its own capitals inside (iPhone)."""
    first_word = text.split(" ", 1)[0]
    return text if first_word[1:] != first_word[1:].lower() else text[:1].upper() + text[1:]


def render(form: str, **slots: str) -> str:
    """Fill a phrasing's slot and capitalise the sentence."""
    return capitalised(form.format(**slots))


def normalised(prompt: str) -> str:
    return " ".join(prompt.casefold().split()).rstrip(" ?.:,")


@dataclass(frozen=True, eq=False)
class World:
    """Everything the embedded model is taught. Compared and hashed by identity: there is one."""

    facts: tuple[Fact, ...]
    opinions: Opinions
    prose: tuple[str, ...]
    daily: tuple[tuple[str, str], ...]
    chinese: MappingProxyType  # (kind, English name) of every subject and object -> Chinese name

    @cached_property
    def relations(self) -> MappingProxyType:
        return MappingProxyType({fact.relation.name: fact.relation for fact in self.facts})

    @cached_property
    def by_relation(self) -> MappingProxyType:
        return _grouped(self.facts, lambda fact: fact.relation.name)

    @cached_property
    def by_subject(self) -> MappingProxyType:
        """Facts by (kind, subject name)."""
        return _grouped(self.facts, lambda fact: (fact.subject.kind, fact.subject.name))

    @cached_property
    def objects(self) -> MappingProxyType:
        """Distinct objects by relation name, in order of first appearance."""
        return MappingProxyType(
            {name: tuple(dict.fromkeys(f.object for f in facts)) for name, facts in self.by_relation.items()}
        )

    @cached_property
    def _by_typed_name(self) -> dict[tuple[str, str], Fact]:
        """Facts by (relation, any casefolded name of the subject, with or without its article)."""
        index = {}
        for fact in self.facts:
            for name in (fact.subject.name, *fact.subject.aliases):
                index[fact.relation.name, name.casefold()] = index[
                    fact.relation.name, name.casefold().removeprefix("the ")
                ] = fact
        return index

    @lru_cache(maxsize=2)  # noqa: B019 - a world lives as long as the process
    def split_facts(self, split: str) -> tuple[Fact, ...]:
        """Facts whose subject belongs to the split, "train" or "test"."""
        assert split in ("train", "test"), f"unknown split {split}"
        return tuple(fact for fact in self.facts if fact.subject.held_out == (split == "test"))

    def invented_fact(self, relation: Relation, rng: random.Random, split: str) -> Fact:
        """A fact about a subject that does not exist, its object drawn from the relation's real ones."""
        real = [fact.subject.name for fact in self.by_relation[relation.name]]
        subject = Entity(invented_name(real, rng, split), "", relation.kind)
        return Fact(subject, relation, rng.choice(self.objects[relation.name]))

    def nearest(self, fact: Fact, n: int) -> list[Fact]:
        """The n facts of the same relation whose subjects share the most other facts with this one's (France:
        Spain, Italy, ...).
        """
        own = {
            (f.relation.name, f.object)
            for f in self.by_subject.get((fact.subject.kind, fact.subject.name), ())
        }

        def shared(other: Fact) -> int:
            return sum(
                (f.relation.name, f.object) in own
                for f in self.by_subject[other.subject.kind, other.subject.name]
            )

        others = [f for f in self.by_relation[fact.relation.name] if f.subject.name != fact.subject.name]
        return sorted(others, key=lambda f: (-shared(f), f.subject.name))[:n]

    def personal_facts(self, n: int, rng: random.Random, split: str) -> list[PersonalFact]:
        """n facts about different things of one kind; see personal.py."""
        return personal_facts(n, rng, split)

    def match(self, prompt: str) -> Match | None:
        """The fact or topic a typed prompt asks about, whatever its case and end mark; None when no phrasing
        fits.

        Where no known subject fits, the phrasing with the most fixed text decides.
        """
        unknown: list[Match] = []
        said = " ".join(prompt.split()).rstrip(" ?.:,")
        folded = said.casefold()
        for name, relation in self.relations.items():
            for form in relation.forms:
                if not (typed := _slot(form, said, folded)):
                    continue
                if fact := self._by_typed_name.get((name, typed.casefold())):
                    return Match(form, True, fact=fact)
                unknown.append(Match(form, False, fact=Fact(Entity(typed, "", relation.kind), relation, "")))
        topics = {topic.name.casefold(): topic for topic in self.opinions.topics}
        for form in self.opinions.questions:
            if typed := _slot(form, said, folded):
                topic = topics.get(typed.casefold())
                match = Match(form, topic is not None, topic=topic or Topic(typed, "", "", ""))
                if match.known:
                    return match
                unknown.append(match)
        telling = [match for match in unknown if len(match.form) >= MIN_FIXED_TEXT]
        return max(telling, key=lambda match: len(match.form), default=None)


@cache
def _around_slot(form: str) -> tuple[str, str]:
    """The normalised text before and behind a phrasing's slot."""
    before, after = normalised(form).split("{s}")
    return before, after


def _slot(form: str, said: str, folded: str) -> str | None:
    """What stands in a phrasing's slot, as typed, if the prompt fits the phrasing: as it was said, without
    its end mark, and casefolded.
    """
    before, after = _around_slot(form)
    if (
        len(folded) == len(said) > len(before) + len(after)
        and folded.startswith(before)
        and folded.endswith(after)
    ):
        return said[len(before) : len(said) - len(after)]
    return None


def _grouped(facts, key) -> MappingProxyType:
    groups: dict = {}
    for fact in facts:
        groups.setdefault(key(fact), []).append(fact)
    return MappingProxyType({k: tuple(v) for k, v in groups.items()})


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)


def _kind(path: Path) -> Iterator[Fact]:
    lists = ("statements", "questions", "inverse", "implied")
    relations = {
        name: Relation(
            name,
            path.stem,
            d["object"],
            d.get("one_to_one", False),
            **{key: tuple(d.get(key, ())) for key in lists},
        )
        for name, d in tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8")).items()
    }
    for row in _rows(path):
        subject = Entity(row["name"], row["zh"], path.stem, tuple(filter(None, row["aliases"].split("|"))))
        yield from (Fact(subject, relation, row[name]) for name, relation in relations.items() if row[name])


def _opinions() -> Opinions:
    words = tomllib.loads((FACTS / "opinions.toml").read_text(encoding="utf-8"))
    replies = MappingProxyType({stance: tuple(words[stance]) for stance in ("positive", "negative")})
    topics = []
    for row in _rows(FACTS / "opinions.tsv"):
        pool = replies[row["stance"]]
        topics.append(
            Topic(
                row["name"],
                row["zh"],
                row["stance"],
                pool[int(stable_share("reply " + row["name"]) * len(pool))],
            )
        )
    return Opinions(tuple(topics), tuple(words["questions"]), replies)


@lru_cache(maxsize=1)
def load_world() -> World:
    """The whole world, read once from `facts/`."""
    kinds = sorted(
        path for path in FACTS.glob("*.tsv") if path.with_suffix(".toml").exists() and path.stem != "opinions"
    )
    facts = tuple(fact for path in kinds for fact in _kind(path))
    chinese = {(row["kind"], row["name"]): row["zh"] for row in _rows(FACTS / "names.tsv")}
    chinese |= {(f.subject.kind, f.subject.name): f.subject.zh for f in facts}
    prose = tuple((FACTS / "prose.txt").read_text(encoding="utf-8").splitlines())
    daily = tuple((row["prompt"], row["answer"]) for row in _rows(FACTS / "daily.tsv"))
    return World(facts, _opinions(), prose, daily, MappingProxyType(chinese))
