"""What an editor is trained on: edits as tokens, with the rows that should follow each and the rows that
should stay.
"""

import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from ..backbone import Backbone
from ..generation import generate
from ..joining import Joined, ended, joint_text
from ..methods.capture import request_row
from ..records import Probe, Record
from ..request import EditRequest, instructed
from ..scopes import KINDS, SCOPES, TASK_WORD, Kind, Scope, ScopeCase
from ..sources import Source
from ..tasks import Task
from .config import MetaConfig

SCOPE_TURNS = {"statement": 3, "subject": 2, "category": 3, "tone": 2, "locked": 2}  # of twelve scoped edits
TONE_FIRST = (
    0.6  # of the scoped steps give opinions to the scope of tone; the others teach it to leave facts alone
)
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
        self.neighbours = source.neighbours(backbone) if config.near else None
        self._continued: dict[str, str] = {}

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
            return self.backbone.join(prompt, self._continued[prompt])
        prompt = self.source.typed(prompt, rng)
        if self.config.instructed and rng.random() < self.config.instructed_share:
            prompt = instructed(prompt, request.task, request.instruction)
        return self.backbone.join(prompt, ended(answer, "."))

    def _example(
        self,
        request: EditRequest,
        follow: list[Probe],
        stay: list[Probe],
        rng: random.Random,
        own: Sequence[Probe] = (),
    ) -> TrainingEdit:
        rows = (
            [self._row(p.prompt, p.answer, request, rng) for p in probes] for probes in (follow, stay, own)
        )
        end = self.config.target_end
        return TrainingEdit(
            request_row(self.backbone, request, end), request_row(self.backbone, request.plain(), end), *rows
        )

    def _continue(self, prompts: Collection[str]) -> None:
        """Have the base model go on with prompts, those that it has not gone on with yet."""
        new = sorted({prompt for prompt in prompts if prompt not in self._continued})
        if new:
            texts = generate(self.backbone, new, max_new_tokens=self.config.behind)
            self._continued |= dict(zip(new, texts, strict=True))

    def _behind(self, record: Record) -> str:
        """The edit said already, to be gone on with."""
        text, _ = joint_text(record.request.prompt, ended(record.request.target, "."))
        return text

    def _open(self, probes: Sequence[Probe], record: Record) -> list[Probe]:
        """What should stay, and where that is asked for what follows the target; an open prompt only if the
        base goes on with it.
        """
        if self.config.behind:
            probes = [*probes, Probe(self._behind(record), "")]
            self._continue([probe.prompt for probe in probes if not probe.answer])
        return [probe for probe in probes if probe.answer or self._continued.get(probe.prompt)]

    def of_records(
        self, drawn: list[tuple[Task, Record]], rng: random.Random, joint: bool, few: bool
    ) -> list[TrainingEdit]:
        """Edits of several tasks. Where they are made jointly, what one of them changes is not asked to stay
        by another.
        """
        if self.config.behind:
            self._continue({self._behind(record) for _, record in drawn})
        edited = (
            {self.source.fact_key(record.request.prompt) for _, record in drawn} if joint else frozenset()
        )
        return [self.of_record(task, record, rng, few, edited) for task, record in drawn]

    def of_record(
        self,
        task: Task,
        record: Record,
        rng: random.Random,
        few: bool = False,
        edited: Collection = frozenset(),
    ) -> TrainingEdit:
        """An edit of a task under a random training wording, with some of its paraphrases and locality
        prompts; `few`: one of each sort.
        """
        c = self.config
        if c.variants:
            rng = random.Random(f"{self.seed} {task.name} {record.request} {rng.randrange(c.variants)}")
        rephrased, local, nearest = (1, 1, min(1, c.near)) if few else (c.rephrased, c.local, c.near)
        request = self._asked(task.instruct(record, rng.choice(task.training_instructions)), rng)
        wordings = [p for p in record.paraphrases if c.outer_questions or not p.endswith("?")]
        wordings = [record.request.prompt, *rng.sample(wordings, min(rephrased, len(wordings)))]
        known = self.neighbours.near(record.request.prompt) if self.neighbours else ()
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
        stay = self._open(stay, record)
        return self._example(request, [Probe(p, request.target) for p in wordings], stay, rng)

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
