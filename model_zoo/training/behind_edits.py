"""What an adapter that reads edits is trained on: prompts behind edits, about one of these or about none."""

import functools
import random
from dataclasses import dataclass, replace

from ..backbone import Backbone
from ..changes import Rewrite, StoredEdit
from ..changes.rewrite import ROOM
from ..methods.reader import Pair, Reader
from ..methods.retrieval import NearestWords
from ..records import Record
from ..sources import Source
from ..subjects import find_subject
from .aligning_config import AligningConfig
from .examples import ABOUT

ALONE = 0.5  # of the prompts have one edit before them


@dataclass(frozen=True)
class Example:
    """A prompt behind edits: with the target, where one of them says it; else it should go on as the base."""

    put: str
    before: str
    target: str | None


class BehindEdits:
    """Draws prompts for a method and a backbone from a source's records, drawn once."""

    def __init__(
        self, method: type[Reader], backbone: Backbone, source: Source, config: AligningConfig, seed: int = 0
    ):
        lacking = [task for task in config.tasks if task not in source.tasks]
        if lacking:
            found = ", ".join(source.tasks) or "none"
            raise ValueError(
                f"{source.title} has no records of {', '.join(lacking)} (it has: {found}); "
                "choose other tasks."
            )
        self.method, self.backbone, self.config, self.seed = method, backbone, config, seed
        self.source = source.with_questions() if config.questions else source
        self.fact_key = functools.cache(source.fact_key)
        self.records = self._drawn()
        self.stored = tuple(_stored(record) for record in self.records)
        self.layout = Rewrite((), NearestWords(0.0), *method.words)

    def _drawn(self) -> list[Record]:
        """The records to learn of: those whose targets the model has room for."""
        found: list[Record] = []
        for task in self.config.tasks:
            rng = random.Random(f"{self.seed} {task} records")
            found += self.source.records(task, "train", self.config.records, rng)
        fits = [r for r in found if len(self.backbone.ids(r.request.target)) < ROOM - 2]
        if not fits:
            raise ValueError(f"No record of {self.source.title} is short enough to train on.")
        return list(dict.fromkeys(fits))

    def examples(self, step: int) -> list[Example]:
        """The prompts of one step, which depend on seed and step alone."""
        rng, c = random.Random(f"{self.seed} {step}"), self.config
        found: list[Example] = []
        for drawn in rng.choices(self.records, k=c.batch):
            record = self._reworded(drawn, rng)
            own = rng.choice((record.request.prompt, *record.paraphrases))
            found += self._example(record, own, record.request.target, rng)
            if self.method.leaves_others_alone and rng.random() < c.share and (away := _elsewhere(record)):
                found += self._example(record, rng.choice(away), None, rng)
        if not any(example.target for example in found):
            raise ValueError(
                f"{self.backbone.name} reads at most {self.backbone.max_length} tokens, which leaves no room "
                "for edits before a prompt; choose another base model."
            )
        return found

    def _reworded(self, record: Record, rng: random.Random) -> Record:
        """The record, its edit made in any of its wordings, now and then with a target of another record."""
        wordings = (record.request.prompt, *record.paraphrases)
        prompt, target = rng.choice(wordings), record.request.target
        if rng.random() < self.config.swapped:
            target = rng.choice(self.records).request.target
        others = tuple(wording for wording in wordings if wording != prompt)
        # the subject may have another name there
        request = replace(record.request, prompt=prompt, target=target, subject=None)
        return replace(record, request=request, paraphrases=others)

    def _example(self, record: Record, prompt: str, target: str | None, rng: random.Random) -> list[Example]:
        """The prompt behind the record's edit and the nearest others, in any order; none where it is too
        long.
        """
        put = self.backbone.asked(prompt, rng.random() < self.config.chat)
        n = 1 if rng.random() < ALONE else rng.randint(1, self.method.most_edits)
        near = self._others(record, prompt, n - 1) if n > 1 else []
        edits = list(self.layout.fitting((_stored(record), *near), put, self.backbone))
        rng.shuffle(edits)
        return [Example(put, self.layout.text(edits, put), target)] if edits else []

    def _others(self, record: Record, prompt: str, n: int) -> list[StoredEdit]:
        """The n nearest of all edits that are about something else than the record and the prompt."""
        known = {self.fact_key(text) for text in (record.request.prompt, prompt)}

        def elsewhere(edit: StoredEdit) -> bool:
            about = edit.subject is not None and edit.subject in prompt
            return self.fact_key(edit.prompt) not in known and not about

        near = NearestWords(0.0, 4 * n)(prompt, self.stored, self.backbone)
        return [edit for edit in near if elsewhere(edit)][:n]

    def pairs(self) -> list[Pair]:
        """Edits with prompts that they are about and others: what stays, other facts in the edit's own
        wording, whatever is asked of the subject, and the edit that lies nearest.
        """
        rng, c = random.Random(f"{self.seed} pairs"), self.config
        known, found = self.source.neighbours(self.backbone), []
        for drawn in rng.sample(self.records, min(c.pairs, len(self.records))):
            record = self._reworded(drawn, rng)
            own, edit = record.request.prompt, _stored(record)
            follow = [own, *rng.sample(record.paraphrases, min(3, len(record.paraphrases)))]
            near = [probe.prompt for probe in known.near(own)]
            stay = _elsewhere(record)
            away = [
                *rng.sample(near, min(2, len(near))),
                *rng.sample(stay, min(4, len(stay))),
                *(other.prompt for other in self._others(record, own, 1)),
                rng.choice(self.records).request.prompt,
            ]
            key = self.fact_key(own)
            found += [(edit, prompt, True) for prompt in follow]
            found += [(edit, prompt, False) for prompt in away if self.fact_key(prompt) != key]
        return found


def _stored(record: Record) -> StoredEdit:
    return StoredEdit(record.request.prompt, record.request.target, _named(record))


def _named(record: Record) -> str | None:
    """What a record's edit is about; rows that do not say it carry their prompt in its place."""
    prompt = record.request.prompt
    return find_subject(prompt) if record.subject in ("", prompt) else record.subject


def _elsewhere(record: Record) -> list[str]:
    """Prompts that a record's edit is not about, some of them about its subject."""
    about = [frame.format(subject) for frame in ABOUT] if (subject := _named(record)) else []
    rng = random.Random(record.request.prompt)
    return [*(probe.prompt for probe in record.locality), *rng.sample(about, min(1, len(about)))]
