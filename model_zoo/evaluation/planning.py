"""What an evaluation is to measure: the plan, and the cases that it comes to."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..backbone import Backbone
from ..benchmarks import Loaded, Problem, read
from ..generation import MAX_NEW_TOKENS
from ..records import Record, sampled
from ..request import EditRequest
from ..sources import FileSource, Source
from ..subjects import named_in
from ..tasks import TASKS
from .scoring import Case

ALL = 0  # edits that live together: all of a task


@dataclass(frozen=True)
class Plan:
    """What to measure. `records`: a file or benchmark name instead of a source's held-out edits of `tasks`;
    `data`: files by task instead; `known`: so many facts that the source knows are asked around every
    record, beside its own locality; `together`: so many edits live in one model at once, or ALL, made
    `one_after_another` or jointly; `prose`: a text file whose perplexity is taken under every edit, or under
    those that live together; `most_probes`: of each kind per record (a shared machine's limit);
    `hyperparameters`: what differs from a method's defaults, by method; `most_rows` are read of `records`.
    """

    model: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    n: int
    seed: int = 0
    prompts: str = "plain"  # "prefixed": they keep the instruction; "chat": questions in the chat template
    records: str | None = None
    most_probes: int | None = None
    hyperparameters: Mapping[str, dict] = field(default_factory=dict)
    data: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: int = 0
    together: int = 1
    one_after_another: bool = False
    prose: str | None = None
    most_rows: int | None = None


@dataclass(frozen=True)
class Planned:
    """The cases by task, what was left out and why, and the digest of the records' file if they came from
    one.
    """

    cases: dict[str, list[Case]]
    skipped: list[Problem]
    files: tuple[Loaded, ...] = ()

    @property
    def records_sha256(self) -> str | None:
        own = "".join(loaded.sha256 for loaded in self.files)
        return hashlib.sha256(own.encode()).hexdigest() if len(self.files) > 1 else own or None

    @property
    def unread(self) -> dict[str, int]:
        return dict(sum((Counter(loaded.unread) for loaded in self.files), Counter()))


def plan_cases(plan: Plan, backbone: Backbone, source: Source) -> Planned:
    """What the plan comes to. ValueError when no case is left or the source has no records."""
    drawn, files = _drawn(plan, source)
    skipped = [problem for loaded in files for problem in loaded.skipped]
    cases = {}
    for task, records in drawn.items():
        fitting, too_long = cases_of(records, task, plan, backbone, source)
        skipped += too_long
        if fitting:
            cases[task] = fitting
    if not cases:
        why = f"; {len(skipped)} were left out, the first because: {skipped[0].reason}" if skipped else ""
        raise ValueError(f"No case is left to measure{why}.")
    return Planned(cases, skipped, files)


def cases_of(
    records: Sequence[Record], task: str, plan: Plan, backbone: Backbone, source: Source
) -> tuple[list[Case], list[Problem]]:
    """The records as numbered cases, and those that the model has no room for."""
    skipped: list[Problem] = []
    made = [_case(task, i, record, plan, source) for i, record in enumerate(records)]
    return [case for case in made if _fits(case, backbone, skipped)], skipped


def _drawn(plan: Plan, source: Source) -> tuple[dict[str, list[Record]], tuple[Loaded, ...]]:
    """The records by task, each once, and the files that they came from, if any."""
    if plan.data:
        files = FileSource({}, plan.data)
        own = _of_source(files, tuple(plan.data), plan)
        return own, tuple(loaded for parts in files.loaded.values() for loaded in parts)
    if not plan.records:
        if not source.tasks:
            raise ValueError(
                f"{plan.model} does not know the atlas, so its records would measure nothing; give a file of "
                "records instead."
            )
        return _of_source(source, plan.tasks, plan), ()
    loaded = read(plan.records, plan.tasks[0] if len(plan.tasks) == 1 else None, plan.most_rows)
    by_task: dict[str, list[Record]] = {}
    for record in loaded.records:
        by_task.setdefault(record.request.task, []).append(record)
    return {task: _sample(records, plan, task) for task, records in by_task.items()}, (loaded,)


def _of_source(source: Source, tasks: Sequence[str], plan: Plan) -> dict[str, list[Record]]:
    """A source's held-out records by task; where it has fewer than are asked for, all."""
    rngs = {task: random.Random(f"{task} {plan.seed}") for task in tasks}
    drawn = {task: source.records(task, "test", plan.n, rng) for task, rng in rngs.items()}
    return {task: list(dict.fromkeys(records)) for task, records in drawn.items()}


def _sample(records: list[Record], plan: Plan, task: str) -> list[Record]:
    return (
        records if len(records) <= plan.n else sampled(records, plan.n, random.Random(f"{task} {plan.seed}"))
    )


def _case(task: str, index: int, record: Record, plan: Plan, source: Source) -> Case:
    """The record as a case: under its own instruction, else its task's held-out wording; with the subject it
    is about.
    """
    request = record.request
    if request.instruction is None and request.task in TASKS:
        own = TASKS[request.task]
        request = own.instruct(record, own.held_out_instruction)
    if request.subject is None:
        request = with_subject(request, record.subject, source)
    request = replace(request, chat=plan.prompts == "chat")
    record = record.first(plan.most_probes)
    if plan.known:
        record = replace(record, locality=record.locality + source.known_around(record, plan.known))
    return Case(task, index, record, request, plan.prompts == "prefixed")


def with_subject(request: EditRequest, name: str, source: Source) -> EditRequest:
    """The request with the subject that its record names, else what the source finds in its prompt."""
    found = named_in(request.prompt, name) if name and name != request.prompt else None
    return replace(request, subject=found or source.subject(request.prompt))


def _fits(case: Case, backbone: Backbone, skipped: list[Problem]) -> bool:
    """Whether the model has room for the edit and every prompt with its answer."""
    try:
        backbone.join(case.request.text, case.request.target)
        for _, probe in case.asked():
            put = backbone.asked(case.shown(probe.prompt), case.request.chat)
            joined = backbone.join(put, probe.answer or "x")
            if joined.start + MAX_NEW_TOKENS > backbone.max_length:
                raise ValueError(
                    f"the prompt is {joined.start} tokens long and {backbone.name} reads "
                    f"{backbone.max_length}, "
                    "the answer's included"
                )
    except ValueError as error:
        skipped.append(Problem(f"{case.task} {case.index + 1}", "prompt", str(error), refused=True))
        return False
    return True
