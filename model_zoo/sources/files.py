"""Record files as a source: one or several per task, with a test part given or cut off by a hash of the
subject.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

from ..backbone import Backbone
from ..benchmarks import Loaded, Problem, read
from ..joining import is_question
from ..records import Probe, Record, sampled
from ..registry import find
from ..subjects import find_subject
from ..tasks import get_task
from .base import Neighbours, Pair, Source
from .questions import questions

OTHERS = 2  # questions about something else that an edit of a question should leave alone
STATEMENTS = 2048  # known facts, at most, whose keys are averaged
TEST_SHARE = 0.2  # of the subjects, where no test file is given
Files = Mapping[str, Sequence[str | Path]]


def subject_share(subject: str) -> float:
    """A number in [0, 1) that depends on the subject's name alone, whatever its case."""
    return int.from_bytes(hashlib.sha256(subject.casefold().encode()).digest()[:4], "big") / 2**32


class FileSource(Source):
    """Records read from files, by task. Known facts are what the records say stays: their locality probes
    with answers.

    `train` and `test` name the files of each task. A task without a file in `test` keeps a share of its
    subjects aside, by a hash of their names. ValueError for a file that cannot be read.
    """

    name = "files"
    title = "this file of records"

    def __init__(self, train: Files, test: Files | None = None):
        self.loaded: dict[str, list[Loaded]] = {}
        self._split: dict[str, dict[str, list[Record]]] = {}
        for task, files in train.items():
            own, aside = self._read(task, files), self._read(task, (test or {}).get(task, ()))
            known = {record.subject.casefold() for record in aside}

            def held_out(record: Record, aside=aside, known=known) -> bool:
                return (
                    record.subject.casefold() in known
                    if aside
                    else subject_share(record.subject) < TEST_SHARE
                )

            kept = [record for record in own if not held_out(record)]
            self._split[task] = {
                "train": kept,
                "test": aside or [record for record in own if held_out(record)],
            }
        tested = test or {}
        for task in (name for name in tested if name not in train):
            self._split[task] = {"train": [], "test": self._read(task, tested[task])}

    def _read(self, task: str, files: Sequence[str | Path]) -> list[Record]:
        name = get_task(task).name
        found = [read(file, name) for file in files]
        self.loaded.setdefault(task, []).extend(found)
        records = (record for loaded in found for record in loaded.records)
        return [replace(record, request=replace(record.request, task=name)) for record in records]

    @property
    def skipped(self) -> tuple[Problem, ...]:
        """Rows and fields that were left out, with the reason."""
        return tuple(
            problem for files in self.loaded.values() for loaded in files for problem in loaded.skipped
        )

    @property
    def sha256(self) -> str:
        """A digest of all its files."""
        own = "".join(loaded.sha256 for files in self.loaded.values() for loaded in files)
        return hashlib.sha256(own.encode()).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self._split)

    def records(self, task: str, split: str, n: int, rng: random.Random) -> list[Record]:
        """n records, without replacement as long as the split lasts."""
        pool = find("task", self._split, task)[split]
        if not pool:
            raise ValueError(
                f"The files of {task} hold no record of the split '{split}'; give more rows or a file for it."
            )
        return sampled(pool, n, rng) + rng.choices(pool, k=max(0, n - len(pool)))

    def subject(self, prompt: str) -> str | None:
        return find_subject(prompt, (r.subject for r in self._all() if r.request.prompt == prompt))

    def neighbours(self, backbone: Backbone) -> "SameWording":
        return SameWording(self._training())

    def statements(self, seed: int = 0) -> list[Pair]:
        pairs = [(p.prompt, p.answer) for r in self._training() for p in r.locality if _has_answer(p)]
        known = list(dict.fromkeys(pairs))
        return random.Random(seed).sample(known, min(STATEMENTS, len(known))) or super().statements(seed)

    def asked(self, seed: int = 0) -> list[str]:
        """The prompts of its training records that are questions, in an order drawn by the seed."""
        prompts = dict.fromkeys(record.request.prompt for record in self._training())
        found = [prompt for prompt in prompts if is_question(prompt)]
        return random.Random(seed).sample(found, len(found))

    def relations(self, seed: int = 0) -> list[list[Pair]]:
        """Known truths by what their prompts say beside the subject, where at least two prompts share it."""
        groups: dict[str, list[Pair]] = {}
        for record in self._training():
            if record.truth and (wording := _wording(record)):
                groups.setdefault(wording, []).append((record.request.prompt, record.truth))
        return [pairs for pairs in groups.values() if len(pairs) > 1] or super().relations(seed)

    def with_questions(self) -> "FileSource":
        """The same, its training records asked as questions too, wherever their statements have any."""
        source, asked = copy(self), {}
        for task, parts in self._split.items():
            forms = [(record, questions(record.request.prompt, record.subject)) for record in parts["train"]]
            others = [form[0] for _, form in forms if form]
            told = [_told(record, form) for record, form in forms]
            asked[task] = parts | {"train": told + [_asked(*pair, others) for pair in forms if pair[1]]}
        source._split = asked
        return source

    def _training(self) -> list[Record]:
        return [record for parts in self._split.values() for record in parts["train"]]

    def _all(self) -> list[Record]:
        return [record for parts in self._split.values() for split in parts.values() for record in split]


class SameWording(Neighbours):
    """Other subjects in an edit's own wording, as the records have them: people try them first."""

    def __init__(self, records: Sequence[Record]):
        self._wordings: dict[str, str] = {}
        self._asked: dict[str, dict[str, Probe]] = {}
        for record in records:
            if wording := _wording(record):
                prompt = record.request.prompt
                self._wordings[prompt] = wording
                self._asked.setdefault(wording, {})[prompt] = Probe(prompt, record.truth)

    def near(self, prompt: str) -> Sequence[Probe]:
        """All of them, with their true answers where the records tell; without one the prompt is open."""
        same = self._asked.get(self._wordings.get(prompt, ""), {})
        return [probe for other, probe in same.items() if other != prompt]


def _told(record: Record, forms: Sequence[str]) -> Record:
    """The record, one of its questions among its paraphrases."""
    rng = random.Random(f"told {record.request.prompt}")
    return replace(record, paraphrases=record.paraphrases + tuple(rng.sample(forms, min(1, len(forms)))))


def _asked(record: Record, forms: Sequence[str], others: Sequence[str]) -> Record:
    """The record made of a question: another one and its statement are paraphrases, and questions about
    something else stay.
    """
    rng = random.Random(f"asked {record.request.prompt}")
    question, *rest = rng.sample(forms, len(forms))
    drawn = rng.sample(others, min(OTHERS, len(others)))
    far = tuple(Probe(text, "") for text in drawn if record.subject not in text)
    return replace(
        record,
        request=replace(record.request, prompt=question),
        paraphrases=(*rest[:1], record.request.prompt, *record.paraphrases),
        locality=far[:1] + record.locality + far[1:],
    )


def _wording(record: Record) -> str | None:
    """A record's prompt without its subject; None where nothing else is in it, or the subject is not."""
    wording = record.request.prompt.replace(record.subject, "{}")
    return None if wording in ("{}", record.request.prompt) else wording


def _has_answer(probe: Probe) -> bool:
    return bool(probe.answer.strip())
