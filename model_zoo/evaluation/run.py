"""One evaluation: several methods on the same cases, resumable, returned as plain data.

Cases are measured in fixed groups, so that a run that was killed and started again computes every group in the same batches as
an unbroken one: both give the same results. A finished group is one line of `<file>.partial`.
"""

import json
import platform
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers

from ..atlas.world import World
from ..backbone import Backbone
from ..benchmarks import Problem, read
from ..delta import Delta
from ..generation import MAX_NEW_TOKENS
from ..methods import EditMethod
from ..tasks import TASKS, Record, get_task
from .scoring import Baseline, Case, Row, score
from .summary import summarise

GROUP = 8  # cases measured together
UNEDITED = "none"  # the base model, as a method


@dataclass(frozen=True)
class Plan:
    """What to measure. `records`: a file or benchmark name instead of the atlas' held-out edits of `tasks`; `most_probes`: of each kind
    per record (a shared machine's limit)."""

    model: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    n: int
    seed: int = 0
    prompts: str = "plain"  # or "prefixed": evaluation prompts keep the instruction
    records: str | None = None
    most_probes: int | None = None


@dataclass(frozen=True)
class Results:
    """`summary`: one entry per method, task, metric and score. `skipped`: rows left out. `cases`: every prompt of every case."""

    config: dict
    versions: dict
    seed: int
    summary: list[dict]
    skipped: list[dict]
    cases: list[dict]

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Planned:
    """The cases by task, what was left out and why, and the digest of the records' file if they came from one."""

    cases: dict[str, list[Case]]
    skipped: list[Problem]
    records_sha256: str | None = None


def plan_cases(plan: Plan, backbone: Backbone, world: World | None) -> Planned:
    """What the plan comes to. ValueError when no case is left or the world is needed and not there."""
    skipped: list[Problem] = []
    loaded = read(plan.records, plan.tasks[0] if len(plan.tasks) == 1 else None) if plan.records else None
    if loaded:
        skipped += loaded.skipped
        drawn: dict[str, list[Record]] = {}
        for record in loaded.records:
            drawn.setdefault(record.request.task, []).append(record)
        drawn = {task: _sample(records, plan, task) for task, records in drawn.items()}
    elif world is None:
        raise ValueError(f"{plan.model} does not know the atlas, so its records would measure nothing; give a file of records instead.")
    else:
        drawn = {name: get_task(name).records(world, "test", plan.n, random.Random(f"{name} {plan.seed}")) for name in plan.tasks}
    cases: dict[str, list[Case]] = {}
    for name, records in drawn.items():
        made = [Case(name, i, _cut(record, plan.most_probes), _request(record), plan.prompts == "prefixed") for i, record in enumerate(records)]
        fitting = [case for case in made if _fits(case, backbone, skipped)]
        if fitting:
            cases[name] = fitting
    if not cases:
        why = f"; {len(skipped)} were left out, the first because: {skipped[0].reason}" if skipped else ""
        raise ValueError(f"No case is left to measure{why}.")
    return Planned(cases, skipped, loaded and loaded.sha256)


def _sample(records: list[Record], plan: Plan, task: str) -> list[Record]:
    return records if len(records) <= plan.n else random.Random(f"{task} {plan.seed}").sample(records, plan.n)


def _cut(record: Record, most: int | None) -> Record:
    """The record with at most so many prompts of each kind."""
    if most is None:
        return record
    return replace(record, paraphrases=record.paraphrases[:most], locality=record.locality[:most], portability=record.portability[:most])


def _request(record: Record):
    """The record's own instruction, else its task's held-out wording."""
    if record.request.instruction is not None or record.request.task not in TASKS:
        return record.request
    task = TASKS[record.request.task]
    return task.instruct(record, task.held_out_instruction)


def _fits(case: Case, backbone: Backbone, skipped: list[Problem]) -> bool:
    """Whether the model has room for the edit and every prompt with its answer."""
    try:
        backbone.join(case.request.text, case.request.target)
        for _, probe in case.asked():
            joined = backbone.join(case.shown(probe.prompt), probe.answer or "x")
            if joined.start + MAX_NEW_TOKENS > backbone.max_length:
                raise ValueError(f"the prompt is {joined.start} tokens long and {backbone.name} reads {backbone.max_length}, the answer's included")
    except ValueError as error:
        skipped.append(Problem(f"{case.task} {case.index + 1}", "prompt", str(error)))
        return False
    return True


def measuring(
    plan: Plan, backbone: Backbone, world: World | None, method: Callable[[str], EditMethod], out: Path | None = None
) -> Iterator[tuple[int, int, Results | None]]:
    """Run the plan: (groups done, groups in all, None) after each group, at last the results.

    With `out` the results are written there, and a run that was killed goes on where it was.
    """
    planned = plan_cases(plan, backbone, world)
    proposers = {name: None if name == UNEDITED else method(name) for name in plan.methods}  # found missing before any work
    groups = [(task, start, part[start : start + GROUP]) for task, part in planned.cases.items() for start in range(0, len(part), GROUP)]
    config = asdict(plan) | {"base": backbone.fingerprint, "editors": {name: m and m.fingerprint for name, m in proposers.items()}}
    config |= {"records_sha256": planned.records_sha256}
    log = _Log(out, config)
    for done, (task, start, group) in enumerate(groups, start=1):
        baseline = Baseline(backbone)
        for name, proposer in proposers.items():
            if not log.has(name, task, start):
                log.add(name, task, start, score(backbone, baseline, group, _deltas(proposer, group)))
        yield done, len(groups), None
    results = _results(plan, config, backbone, planned, log)
    if out:
        out.write_text(json.dumps(asdict(results), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        log.close()
    yield len(groups), len(groups), results


def evaluate(plan: Plan, backbone: Backbone, world: World | None, method: Callable[[str], EditMethod], out: Path | None = None) -> Results:
    """`measuring` to its end."""
    *_, (_, _, results) = measuring(plan, backbone, world, method, out)
    return results


def evaluate_cases(backbone: Backbone, method: EditMethod | None, cases: Sequence[Case]) -> list[Row]:
    """Rows of the given cases under one method; None is the base model itself."""
    groups = [cases[i : i + GROUP] for i in range(0, len(cases), GROUP)]
    return [row for group in groups for row in score(backbone, Baseline(backbone), group, _deltas(method, group))]


def _deltas(method: EditMethod | None, group: Sequence[Case]) -> list[Delta | None]:
    return [None] * len(group) if method is None else list(method.propose([case.request for case in group]))


class _Log:
    """Finished groups, in memory and, with `out`, as lines of a file beside it."""

    def __init__(self, out: Path | None, config: dict):
        self.rows: dict[tuple[str, str, int], list[Row]] = {}
        self.path = out and out.with_name(out.name + ".partial")
        head = json.dumps(config, sort_keys=True)  # another editor, base or file is another run
        if self.path is None:
            return
        if self.path.exists() and (lines := self.path.read_text(encoding="utf-8").split("\n"))[0] == head:
            for line in lines[1:]:
                self._take(line)
        self.file = self.path.open("a" if self.rows else "w", encoding="utf-8")
        self._write("" if self.rows else head)  # a line break first: the last line may have been cut short

    def _take(self, line: str) -> None:
        try:
            data = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written when the run was killed
            return
        self.rows[data["method"], data["task"], data["start"]] = [Row(**row) for row in data["rows"]]

    def _write(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()

    def has(self, method: str, task: str, start: int) -> bool:
        return (method, task, start) in self.rows

    def add(self, method: str, task: str, start: int, rows: list[Row]) -> None:
        self.rows[method, task, start] = rows
        if self.path:
            self._write(json.dumps({"method": method, "task": task, "start": start, "rows": [asdict(row) for row in rows]}, ensure_ascii=False))

    def of(self, method: str, task: str) -> list[Row]:
        return [row for (m, t, _), rows in sorted(self.rows.items()) if (m, t) == (method, task) for row in rows]

    def close(self) -> None:
        self.file.close()
        self.path.unlink()


def _results(plan: Plan, config: dict, backbone: Backbone, planned: Planned, log: _Log) -> Results:
    summary, details = [], []
    for name in plan.methods:
        for task, part in planned.cases.items():
            rows = log.of(name, task)
            for s in summarise(rows, {case.index: case.record.subject for case in part}, plan.seed):
                summary.append({"method": name, "task": task, "prompts": plan.prompts, **asdict(s)})
            for case in part:
                own = [{k: v for k, v in asdict(row).items() if k != "case"} for row in rows if row.case == case.index]
                request = {k: getattr(case.request, k) for k in ("prompt", "target", "instruction")}
                details.append({"method": name, "task": task, "index": case.index, "subject": case.record.subject, **request, "rows": own})
    return Results(config, versions(backbone), plan.seed, summary, [asdict(p) for p in planned.skipped], details)


def versions(backbone: Backbone) -> dict:
    """What the numbers depend on beside the seed."""
    return {
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "machine": platform.machine(), "threads": torch.get_num_threads(), "device": str(backbone.device),
    }  # fmt: skip
