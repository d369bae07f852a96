"""What an editor is trained on: edits as tokens, with the rows that should follow each and the rows that
should stay.
"""

import itertools
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

from ..backbone import Backbone
from ..generation import generate
from ..joining import Joined, ended, joint_text
from ..methods.capture import request_row
from ..records import Probe, Record
from ..request import EditRequest, instructed
from ..scopes import KINDS, SCOPES, TASK_WORD, Kind, Scope, ScopeCase
from ..sources import Neighbours, Source
from ..tasks import Task
from .config import MetaConfig

SCOPE_TURNS = {"statement": 3, "subject": 2, "category": 3, "tone": 2, "locked": 2}  # of twelve scoped edits
TONE_FIRST = (
    0.6  # of the scoped steps give opinions to the scope of tone; the others teach it to leave facts alone
)
ABOUT = (  # other prompts about a subject, which its edit should leave alone
    "{} is a",
    "I once read about {} that",
    "The first thing that comes to mind about {} is",
    "My friend told me about {}, and",
    "There is a short text on {} in this book:",
    "In the news today: {}",
)
CONTINUED = 256  # prompts that the base goes on with at once
LENGTHENED = 0.15  # of instructions get a remark or two around them: people write long ones
REMARKS = (
    "Please read this with care.",
    "Thank you for your help with this.",
    "It matters to us that this is done well.",
    "Here is what we would like to have.",
    "The example below was written down by hand.",
    "We have talked about this for some time and this is what we decided.",
    "Take the example below as it is given.",
    "If anything is unclear, read the input again.",
)


@dataclass(frozen=True)
class TrainingEdit:
    """One edit of a step, as tokens: its own row, with its instruction and without, the rows that should
    follow it, the rows that should stay, and a scoped edit's own prompt, as often as it is asked, which
    should just follow.
    """

    edit: Joined
    plain: Joined
    follow: list[Joined]
    stay: list[Joined]
    own: list[Joined]


@dataclass(frozen=True)
class Draft:
    """One edit of a step before its rows are made: what should follow it, what should stay, the generator
    that goes on from here, and what fixes its rows, if the seed does.
    """

    request: EditRequest
    follow: Sequence[str]
    stay: Sequence[Probe]
    rng: random.Random
    fixed: str


def lengthened(instruction: str, rng: random.Random) -> str:
    """The instruction, now and then with remarks before and behind it that say nothing."""
    if rng.random() >= LENGTHENED:
        return instruction
    before, behind = rng.choice(((0, 1), (1, 0), (1, 1), (0, 2), (1, 2)))
    remarks = rng.sample(REMARKS, before + behind)
    return " ".join([*remarks[:before], instruction, *remarks[before:]])


class Sampler:
    """Draws examples for a backbone, all randomness from the generator it is given."""

    def __init__(self, backbone: Backbone, source: Source, config: MetaConfig, seed: int = 0):
        self.backbone, self.source, self.config, self.seed = backbone, source, config, seed
        self._continued: dict[str, str] = {}
        self._fixed: dict[str, TrainingEdit] = {}  # those whose rows the seed fixes, by what fixes them

    @cached_property
    def neighbours(self) -> Neighbours:
        """What lies nearest to edited prompts; a source may have the base read all its facts for that."""
        return self.source.neighbours(self.backbone) if self.config.near else Neighbours()

    def _asked(self, request: EditRequest, rng: random.Random) -> EditRequest:
        """The request as hurried people type it, its instruction short or long, or bare of any."""
        c = self.config
        instruction = lengthened(cast(str, request.instruction), rng) if c.remarks else request.instruction
        request = EditRequest(
            self.source.typed(request.prompt, rng), request.target, request.task, instruction
        )
        return request if c.instructed else request.plain()

    def _row(self, prompt: str, answer: str, request: EditRequest, rng: random.Random) -> Joined:
        """One outer row; a share of them carries the instruction. The closing period teaches the edited model
        to stop. Where there is no answer, the base's own continuation is the row's.
        """
        if not answer.strip():
            goes_on = self._continued[prompt]
            return self.backbone.join(prompt, goes_on) if goes_on else self.backbone.silent(prompt)
        prompt = self.source.typed(prompt, rng)
        if self.config.instructed and rng.random() < self.config.instructed_share:
            prompt = instructed(prompt, request.task, request.instruction)
        row = self.backbone.join(self.backbone.asked(prompt, request.chat), ended(answer, "."))
        return self.backbone.stopped(row) if self.config.stop else row

    def _example(
        self,
        request: EditRequest,
        follow: Sequence[Probe],
        stay: Sequence[Probe],
        rng: random.Random,
        own: Sequence[Probe] = (),
    ) -> TrainingEdit:
        rows = (
            [self._row(p.prompt, p.answer, request, rng) for p in probes] for probes in (follow, stay, own)
        )
        end, stop = self.config.target_end, self.config.stop
        edit, plain = (request_row(self.backbone, r, end, stop) for r in (request, request.plain()))
        return TrainingEdit(edit, plain, *rows)

    def _continue(self, prompts: Collection[str]) -> None:
        """Have the base model go on with prompts, those that it has not gone on with yet."""
        new = sorted({prompt for prompt in prompts if prompt not in self._continued}, key=len)
        for i in range(0, len(new), CONTINUED):
            part = new[i : i + CONTINUED]
            texts = generate(self.backbone, part, max_new_tokens=self.config.goes_on)
            self._continued |= dict(zip(part, texts, strict=True))

    def chat_turns(self, n: int) -> list[tuple[str, str]]:
        """Up to n questions in the chat template, with how the base begins its answer; none where it has no
        template, does not go on, or the source asks no questions.
        """
        if not (self.backbone.chats and self.config.goes_on):
            return []
        asked = self.source.asked(self.seed)[:n]
        prompts = [self.backbone.asked(question, True) for question in asked]
        self._continue(prompts)
        return [(prompt, self._continued[prompt]) for prompt in prompts if self._continued[prompt].strip()]

    def _about(self, record: Record) -> list[Probe]:
        """Other prompts about the record's subject, always the same ones."""
        frames = random.Random(record.subject).sample(ABOUT, self.config.about if record.subject else 0)
        return [Probe(frame.format(record.subject), "") for frame in frames]

    def _behind(self, record: Record) -> list[str]:
        """The edit said already, in its own words and in others, to be gone on with."""
        said = ended(record.request.target, ".")
        return [joint_text(prompt, said)[0] for prompt in (record.request.prompt, *record.paraphrases[:1])]

    def _open(self, probes: Sequence[Probe], record: Record, chat: bool, rng: random.Random) -> list[Probe]:
        """What should stay. Where it is to go on as the base does, which may be not at all, no probe has an
        answer, a question is put as a chat has it, and what follows the target stays too, unless the text
        ends there.
        """
        if not self.config.goes_on:
            return [probe for probe in probes if probe.answer]
        behind = [] if self.config.stop else [Probe(rng.choice(self._behind(record)), "")]
        opened = (*probes, *self._about(record), *behind)
        return [Probe(self.backbone.asked(probe.prompt, chat), "") for probe in opened]

    def of_records(
        self, drawn: list[tuple[Task, Record]], rng: random.Random, joint: bool, few: bool
    ) -> list[TrainingEdit]:
        """Edits of several tasks. Where they are made jointly, what one of them changes is not asked to stay
        by another.
        """
        edited = (
            {self.source.fact_key(record.request.prompt) for _, record in drawn} if joint else frozenset()
        )
        drafts: Iterable[Draft] = (self._draft(task, record, rng, few, edited) for task, record in drawn)
        if self.config.goes_on:
            drafts = list(drafts)
            self._continue({probe.prompt for draft in drafts for probe in draft.stay})
        return [self._made(draft) for draft in drafts]

    def _made(self, draft: Draft) -> TrainingEdit:
        """A draft as tokens; what the seed fixes is made once."""
        if draft.fixed in self._fixed:
            return self._fixed[draft.fixed]
        follow = [Probe(prompt, draft.request.target) for prompt in draft.follow]
        made = self._example(draft.request, follow, draft.stay, draft.rng)
        if draft.fixed:
            self._fixed[draft.fixed] = made
        return made

    def _draft(self, task: Task, record: Record, rng: random.Random, few: bool, edited: Collection) -> Draft:
        """An edit of a task under a random training wording, with some of its paraphrases and locality
        prompts; `few`: one of each sort.
        """
        c, fixed = self.config, ""
        if c.variants:
            told = f"{self.seed} {task.name} {record.request} {rng.randrange(c.variants)} {few}"
            rng, fixed = random.Random(told), "" if edited else told
        rephrased, local, nearest = (1, 1, min(1, c.near)) if few else (c.rephrased, c.local, c.near)
        request = self._asked(task.instruct(record, rng.choice(task.training_instructions)), rng)
        request = replace(request, chat=bool(c.chat) and rng.random() < c.chat)
        wordings = [p for p in record.paraphrases if c.outer_questions or not p.endswith("?")]
        wordings = [record.request.prompt, *rng.sample(wordings, min(rephrased, len(wordings)))]
        known = self.neighbours.near(record.request.prompt)
        near = rng.sample(known, min(nearest, len(known)))
        # records put their hardest probes first: the edit's own phrasing, and for insertions, which have no
        # nearest facts, other unknown names
        first = min(2, local) + nearest - len(near)
        hardest, rest = record.locality[:first], record.locality[first:]
        stay = [
            *near,
            *hardest,
            *rng.sample(rest, min(max(local + nearest - len(near) - len(hardest), 0), len(rest))),
        ]
        stay = [probe for probe in stay if not edited or self.source.fact_key(probe.prompt) not in edited]
        return Draft(request, wordings, self._open(stay, record, request.chat, rng), rng, fixed)

    def of_scope(self, case: ScopeCase, scope: Scope, rng: random.Random) -> TrainingEdit:
        """An edit whose instruction decides what follows and what stays; asked most around the edge of its
        reach.
        """
        c = self.config
        request = self._asked(case.request(scope.drawn(rng)), rng)
        follow: list[tuple[Kind, Probe]] = []
        stay: list[tuple[Kind, Probe]] = []
        for probe in rng.sample(case.probes, len(case.probes)):
            expected = scope.expected(case, probe)
            (stay if expected == probe.answer else follow).append((probe.kind, Probe(probe.prompt, expected)))
        # repeated up to the same number, one more than elsewhere: an edit that reaches one prompt is asked as
        # often as one that reaches many
        asked = list(itertools.islice(itertools.cycle(_farthest_first(follow)), c.rephrased + 2))
        own, others = (
            [probe for probe in asked if (probe.prompt == case.prompt) == itself] for itself in (True, False)
        )
        return self._example(request, others, _nearest_first(stay, c.local + c.near), rng, own)

    def wordings(self, n: int, rng: random.Random) -> list[tuple[Joined, str]]:
        """n instructions, every scope in turn, as rows of one edit or another, with the names of their
        scopes.
        """
        scopes = list(itertools.islice(itertools.cycle(SCOPES.values()), n))
        requests = [
            self._asked(EditRequest("It is", "so", TASK_WORD, scope.drawn(rng)), rng) for scope in scopes
        ]
        return [
            (request_row(self.backbone, request), scope.name)
            for request, scope in zip(requests, scopes, strict=True)
        ]

    def of_scopes(self, n: int, rng: random.Random) -> list[TrainingEdit]:
        """n scoped edits on as many cases, the scopes by their turns. Opinions come first, and mostly tone
        before all: facts have none to move.
        """
        first = rng.random() < TONE_FIRST
        turns = [SCOPES[name] for name, times in SCOPE_TURNS.items() for _ in range(times)]
        turns.sort(key=lambda scope: (first and scope.gives != "tone", rng.random()))
        cases = self.source.scope_cases("train", n, rng)[::-1]
        return [self.of_scope(case, turns[i % len(turns)], rng) for i, case in enumerate(cases)]


def _farthest_first(probes: Sequence[tuple[str, Probe]]) -> list[Probe]:
    """The edit's own prompt, then in turn two of its category, the farthest that an edit can reach, and one
    of the rest as they come.
    """
    far, near = (
        [probe for kind, probe in probes if kind != "itself" and (kind == "category") == away]
        for away in (True, False)
    )
    turns = [probe for three in itertools.zip_longest(far[::2], far[1::2], near) for probe in three if probe]
    return [probe for kind, probe in probes if kind == "itself"] + turns


def _nearest_first(probes: Sequence[tuple[str, Probe]], n: int) -> list[Probe]:
    """Up to n probes, kind by kind in turn from near to far, so that a frequent kind does not crowd out a
    nearer one; two at a time of the nearest that has any, where an edit's edge lies. The farthest kinds may
    be left out.
    """
    edge = min((kind for kind, _ in probes if kind != "itself"), key=KINDS.index, default="")
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int, int, Probe]] = []
    for kind, probe in probes:
        seen[kind] = seen.get(kind, -1) + 1
        ranked.append((seen[kind] // (2 if kind == edge else 1), KINDS.index(kind), len(ranked), probe))
    return [probe for *_, probe in sorted(ranked, key=lambda r: r[:3])[:n]]
