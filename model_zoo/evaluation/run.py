"""One evaluation: several methods on the same cases, resumable, returned as plain data.

Cases are measured in fixed groups, so that a run that was killed and started again computes every group in
the same batches as an unbroken one: both give the same results, and so do several processes, which share the
groups. A finished group is one line of `<file>.partial`.
"""

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
import transformers

from ..backbone import Backbone
from ..changes import Patch, patch_of
from ..methods import EditMethod, check_requests
from ..processes import together
from ..records import units
from ..sources import Source
from .group_log import GroupLog
from .perplexity import Prose, passages
from .planning import ALL, Plan, Planned, plan_cases
from .scoring import Baseline, Case, Row, score
from .stacking import stacks_of, without_each_other
from .summary import summarise

GROUP = 8  # cases measured in one batch
UNEDITED = "none"  # the base model, as a method


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


MethodFor = Callable[[str], EditMethod]  # a loaded method by name, with the plan's hyperparameters


def measuring(
    plan: Plan, backbone: Backbone, source: Source, method: MethodFor, out: Path | None = None
) -> Iterator[tuple[int, int, Results | None]]:
    """Run the plan: (groups done, groups in all, None) after each method of a group, at last the results.

    With `out` the results are written there, and a run that was killed goes on where it was. Each of several
    processes (processes.py) counts its own groups and has all results; the first one writes.
    """
    processes = together()
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
    log = GroupLog(out, config, processes)
    share = processes.share(groups)
    prose = Prose(backbone, passages(plan.prose, plan.seed)) if plan.prose else None
    for done, (task, number, group) in enumerate(share, start=1):
        baseline = Baseline(backbone)
        for n, (name, proposer) in enumerate(proposers.items(), start=1):
            if not log.has(name, task, number):
                patches = _patches(proposer, group, plan.together != 1, plan.one_after_another)
                rows = score(backbone, baseline, group, patches)
                log.add(name, task, number, rows + (prose.rows(group, patches) if prose else []))
            yield done - (n < len(proposers)), len(share), None
    log.gather()
    results = _results(plan, config, backbone, planned, log)
    if out and processes.first:
        out.write_text(json.dumps(asdict(results), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    log.close()
    yield len(share), len(share), results


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


def _patches(
    method: EditMethod | None, group: Sequence[Case], together: bool = False, one_after_another: bool = False
) -> list[Patch | None]:
    """One patch per case: each edit alone or with those of its group, or all of them `together`."""
    if method is None:
        return [None] * len(group)
    requests = [case.request for case in group]
    check_requests(type(method), requests)
    if together:
        made = method.one_after_another if one_after_another else method.together
        return [patch_of(made(requests))] * len(group)
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
