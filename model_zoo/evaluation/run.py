"""One evaluation: several methods on the same cases, resumable, returned as plain data.

Cases are measured in fixed groups, so that a run that was killed and started again computes every group in
the same batches as an unbroken one: both give the same results. A finished group is one line of
`<file>.partial`.
"""

import hashlib
import json
import platform
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
import transformers

from ..backbone import Backbone
from ..benchmarks import Loaded, Problem, read
from ..changes import Patch, patch_of
from ..generation import MAX_NEW_TOKENS
from ..methods import EditMethod, check_requests
from ..records import Record, sampled, units
from ..request import EditRequest
from ..sources import FileSource, Source
from ..subjects import named_in
from ..tasks import TASKS
from .group_log import GroupLog
from .perplexity import Prose, passages
from .scoring import Baseline, Case, Row, score
from .stacking import stacks_of, without_each_other
from .summary import summarise

GROUP = 8  # cases measured in one batch
UNEDITED = "none"  # the base model, as a method
ALL = 0  # edits that live together: all of a task


@dataclass(frozen=True)
class Plan:
    """What to measure. `records`: a file or benchmark name instead of a source's held-out edits of `tasks`;
    `data`: files by task instead; `known`: so many facts that the source knows are asked around every
    record, beside its own locality; `together`: so many edits live in one model at once, or ALL; `prose`: a
    text file whose perplexity is taken under every edit, or under those that live together; `most_probes`:
    of each kind per record (a shared machine's limit); `hyperparameters`: what differs from a method's
    defaults, by method.
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
    prose: str | None = None


@dataclass(frozen=True)
class Results:
    """`summary`: one entry per method, task, metric and score. `skipped`: rows left out; `unread`: fields of
    the files that nothing reads, with the number of rows. `cases`: every prompt of every case.
    """

    config: dict
    versions: dict
    seed: int
    summary: list[dict]
    skipped: list[dict]
    unread: dict[str, int]
    cases: list[dict]

    def to_dict(self) -> dict:
        return asdict(self)


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
    """The records by task, and the files that they came from, if any."""
    rngs = {task: random.Random(f"{task} {plan.seed}") for task in plan.data or plan.tasks}
    if plan.data:
        files = FileSource({}, plan.data)
        drawn = {task: files.records(task, "test", plan.n, rng) for task, rng in rngs.items()}
        own = {task: list(dict.fromkeys(records)) for task, records in drawn.items()}
        return own, tuple(loaded for parts in files.loaded.values() for loaded in parts)
    if not plan.records:
        if not source.tasks:
            raise ValueError(
                f"{plan.model} does not know the atlas, so its records would measure nothing; give a file of "
                "records instead."
            )
        return {task: source.records(task, "test", plan.n, rng) for task, rng in rngs.items()}, ()
    loaded = read(plan.records, plan.tasks[0] if len(plan.tasks) == 1 else None)
    by_task: dict[str, list[Record]] = {}
    for record in loaded.records:
        by_task.setdefault(record.request.task, []).append(record)
    return {task: _sample(records, plan, task) for task, records in by_task.items()}, (loaded,)


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


MethodFor = Callable[[str], EditMethod]  # a loaded method by name, with the plan's hyperparameters


def measuring(
    plan: Plan, backbone: Backbone, source: Source, method: MethodFor, out: Path | None = None
) -> Iterator[tuple[int, int, Results | None]]:
    """Run the plan: (groups done, groups in all, None) after each group, at last the results.

    With `out` the results are written there, and a run that was killed goes on where it was.
    """
    planned = plan_cases(plan, backbone, source)
    proposers = {
        name: None if name == UNEDITED else method(name) for name in plan.methods
    }  # found missing before any work
    groups = [
        (task, number, group)
        for task, part in planned.cases.items()
        for number, group in enumerate(_grouped(part, plan.together, source))
    ]
    editors = {name: proposer and proposer.fingerprint for name, proposer in proposers.items()}
    config = asdict(plan) | {
        "base": backbone.fingerprint,
        "editors": editors,
        "records_sha256": planned.records_sha256,
    }
    log = GroupLog(out, config)
    prose = Prose(backbone, passages(plan.prose, plan.seed)) if plan.prose else None
    for done, (task, number, group) in enumerate(groups, start=1):
        baseline = Baseline(backbone)
        for name, proposer in proposers.items():
            if not log.has(name, task, number):
                patches = _patches(proposer, group, plan.together != 1)
                rows = score(backbone, baseline, group, patches)
                log.add(name, task, number, rows + (prose.rows(group, patches) if prose else []))
        yield done, len(groups), None
    results = _results(plan, config, backbone, planned, log)
    if out:
        out.write_text(json.dumps(asdict(results), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        log.close()
    yield len(groups), len(groups), results


def evaluate(
    plan: Plan, backbone: Backbone, source: Source, method: MethodFor, out: Path | None = None
) -> Results:
    """`measuring` to its end."""
    *_, (_, _, results) = measuring(plan, backbone, source, method, out)
    return cast(Results, results)


def _grouped(cases: Sequence[Case], together: int, source: Source) -> list[Sequence[Case]]:
    """The cases that are measured at once: those that live `together`, else batches."""
    if together == ALL:
        return [without_each_other(cases, source)]
    if together > 1:
        return [without_each_other(stack, source) for stack in stacks_of(cases, together)]
    return _batches(cases)


def _batches(cases: Sequence[Case]) -> list[Sequence[Case]]:
    """GROUP cases each, or those of a larger group of edits."""
    found: list[list[Case]] = []
    for unit in _units(cases):
        if not found or len(found[-1]) + len(unit) > GROUP:
            found.append([])
        found[-1] += unit
    return list(found)


def _units(cases: Sequence[Case]) -> list[list[Case]]:
    return units(cases, lambda case: case.record)


def evaluate_cases(backbone: Backbone, method: EditMethod | None, cases: Sequence[Case]) -> list[Row]:
    """Rows of the given cases under one method; None is the base model itself."""
    groups = _batches(cases)
    return [
        row for group in groups for row in score(backbone, Baseline(backbone), group, _patches(method, group))
    ]


def _patches(method: EditMethod | None, group: Sequence[Case], together: bool = False) -> list[Patch | None]:
    """One patch per case: each edit alone or with those of its group, or all of them `together`."""
    if method is None:
        return [None] * len(group)
    requests = [case.request for case in group]
    check_requests(type(method), requests)
    if together:
        return [patch_of(method.together(requests))] * len(group)
    alone = [unit[0].request for unit in _units(group) if len(unit) == 1]
    changes = iter(method.propose(alone) if alone else ())
    found: list[Patch | None] = []
    for unit in _units(group):
        several = len(unit) > 1
        change = method.together([case.request for case in unit]) if several else next(changes)
        found += [patch_of(change)] * len(unit)
    return found


def _results(plan: Plan, config: dict, backbone: Backbone, planned: Planned, log: GroupLog) -> Results:
    summary, details = [], []
    for name in plan.methods:
        for task, cases in planned.cases.items():
            rows = log.of(name, task)
            subjects = {case.index: case.record.subject for case in cases}
            for s in summarise(rows, subjects, plan.seed):
                summary.append({"method": name, "task": task, "prompts": plan.prompts, **asdict(s)})
            details += [_detail(name, task, case, rows) for case in cases]
    skipped = [asdict(problem) for problem in planned.skipped]
    return Results(config, versions(backbone), plan.seed, summary, skipped, planned.unread, details)


def _detail(method: str, task: str, case: Case, rows: Sequence[Row]) -> dict:
    """One case with all its rows, as plain data."""
    own = [{k: v for k, v in asdict(row).items() if k != "case"} for row in rows if row.case == case.index]
    request = {key: getattr(case.request, key) for key in ("prompt", "target", "instruction")}
    return {
        "method": method,
        "task": task,
        "index": case.index,
        "subject": case.record.subject,
        **request,
        "rows": own,
    }


def versions(backbone: Backbone) -> dict:
    """What the numbers depend on beside the seed."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(backbone.device),
    }
