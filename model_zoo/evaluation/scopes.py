"""Does an edit reach as far as its instruction says? Every case is edited once under each scope, and all its
probes are asked.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import cast

from ..backbone import Backbone
from ..changes import patch_of
from ..generation import generate
from ..methods import EditMethod
from ..scopes import SCOPES, Scope, ScopeCase, ScopeProbe
from .sentiment import voiced
from .summary import clustered_interval
from .text import starts_with, unchanged

Wording = Callable[[Scope, random.Random], str | None]
Replies = Mapping[str, Sequence[str]]  # known replies by the sentiment that they voice
BATCH = 8  # edits proposed at once, with all their probes
BASE_BATCH = 128  # prompts put to the base model at once
ALL_SCOPES = tuple(SCOPES.values())


@dataclass(frozen=True)
class ScopeRow:
    """One probe under one scope. `inside`: the scope wants another answer than the base model's. `hit`: it
    says that answer (where only the tone is wanted: voices that sentiment), or stays as it was where nothing
    is wanted. `mood`: the wanted sentiment is voiced, where one is wanted.
    """

    case: int
    subject: str
    scope: str
    kind: str
    inside: bool
    prompt: str
    expected: str
    before: str
    after: str
    hit: bool
    mood: bool | None = None


def scope_rows(
    backbone: Backbone,
    method: EditMethod,
    cases: Sequence[ScopeCase],
    wording: Wording,
    seed: int = 0,
    scopes: Sequence[Scope] = ALL_SCOPES,
    replies: Replies | None = None,
) -> list[ScopeRow]:
    """Rows of every case under every scope, each edit alone; `wording(scope, rng)` is the instruction."""
    rng = random.Random(seed)
    todo = [(i, case, scope, wording(scope, rng)) for i, case in enumerate(cases) for scope in scopes]
    before = _before(backbone, cases)
    rows = []
    for start in range(0, len(todo), BATCH):
        part = todo[start : start + BATCH]
        changes = method.propose([case.request(instruction) for _, case, _, instruction in part])
        patches = [patch_of(change) for change in changes]
        prompts = [probe.prompt for _, case, _, _ in part for probe in case.probes]
        seen = [patch for patch, (_, case, _, _) in zip(patches, part, strict=True) for _ in case.probes]
        after = iter(generate(backbone, prompts, seen))
        for i, case, scope, _ in part:
            rows += [
                _row(i, case, scope, p, before[p.prompt], next(after), replies or {}) for p in case.probes
            ]
    return rows


def _before(backbone: Backbone, cases: Sequence[ScopeCase]) -> dict[str, str]:
    """What the base model says to every probe."""
    prompts = list(dict.fromkeys(probe.prompt for case in cases for probe in case.probes))
    said: dict[str, str] = {}
    for i in range(0, len(prompts), BASE_BATCH):
        part = prompts[i : i + BASE_BATCH]
        said |= dict(zip(part, generate(backbone, part), strict=True))
    return said


def _row(
    i: int, case: ScopeCase, scope: Scope, probe: ScopeProbe, before: str, after: str, replies: Replies
) -> ScopeRow:
    expected = scope.expected(case, probe)
    inside = expected != probe.answer
    hit = starts_with(after, expected) if inside else unchanged(before, after, probe.answer)
    wanted = voiced(expected, replies) if replies and inside else None
    mood = voiced(after, replies) == wanted if wanted else None
    if mood is not None and scope.gives == "tone":  # the mood is what was asked for, in whatever words
        hit = mood
    return ScopeRow(
        i, case.subject, scope.name, probe.kind, inside, probe.prompt, expected, before, after, hit, mood
    )


Mean = tuple[float, tuple[float, float]]  # with its 95% interval


@dataclass(frozen=True)
class ScopeSummary:
    """Of one scope: the share of probes inside it that change as it wants and of those outside that change,
    with 95% intervals.
    """

    scope: str
    inside: float | None
    inside_interval: tuple[float, float] | None
    outside: float
    outside_interval: tuple[float, float]
    mood: float | None
    n: int  # edits
    # by kind of probe: the share that did as the scope wants, and how many were asked
    kinds: dict[str, tuple[float, int]]


def summarise_scopes(rows: Sequence[ScopeRow], seed: int = 0) -> list[ScopeSummary]:
    """Means over cases of each case's mean over probes, intervals clustered by subject."""
    found = []
    for scope in dict.fromkeys(row.scope for row in rows):
        own = [row for row in rows if row.scope == scope]
        inside = _mean_of_cases([row for row in own if row.inside], lambda row: row.hit, seed)
        outside = _mean_of_cases([row for row in own if not row.inside], lambda row: not row.hit, seed)
        mood = _mean_of_cases([row for row in own if row.mood is not None], lambda row: bool(row.mood), seed)
        kinds = {
            kind: _kind([row for row in own if row.kind == kind])
            for kind in dict.fromkeys(r.kind for r in own)
        }
        edits = len({row.case for row in own})
        share, interval = inside or (None, None)
        moved, moved_interval = cast(Mean, outside)  # every scope has probes outside
        found.append(
            ScopeSummary(scope, share, interval, moved, moved_interval, mood and mood[0], edits, kinds)
        )
    return found


def _kind(rows: Sequence[ScopeRow]) -> tuple[float, int]:
    return fmean(row.hit for row in rows), len(rows)


def _mean_of_cases(rows: Sequence[ScopeRow], value: Callable[[ScopeRow], bool], seed: int) -> Mean | None:
    """(mean, 95% interval) over cases; None without rows."""
    cases: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        cases[row.case].append(float(value(row)))
    if not cases:
        return None
    subject = {row.case: row.subject for row in rows}
    means = [fmean(values) for values in cases.values()]
    return fmean(means), clustered_interval(means, [subject[case] for case in cases], seed)


def blind_ceiling(
    cases: Sequence[ScopeCase], scopes: Sequence[Scope] = ALL_SCOPES, replies: Replies | None = None
) -> float:
    """The best balanced score of any policy that cannot read the instruction: one answer per case and probe,
    whatever the scope.

    The balanced score is the mean over scopes of the mean of (inside hit, outside unchanged). It is linear in
    the single hits, so the best answer to each probe is the one whose scopes weigh most; with `replies`, tone
    takes any answer in the mood it wants.
    """
    # of every probe: (scope, expected answer, whether that differs from the base's); how many probes a case
    # has on a side
    wants: dict[tuple[int, str], list[tuple[Scope, str, bool]]] = defaultdict(list)
    size: dict[tuple[str, bool], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for i, case in enumerate(cases):
        for probe in case.probes:
            for scope in scopes:
                expected = scope.expected(case, probe)
                wants[i, probe.prompt].append((scope, expected, expected != probe.answer))
                size[scope.name, expected != probe.answer][i] += 1

    def weight(i: int, scope: Scope, inside: bool) -> float:
        """What one hit adds to the balanced score."""
        own = size[scope.name, inside]
        sides = sum((scope.name, side) in size for side in (True, False))
        return 1 / (len(scopes) * sides * len(own) * own[i])

    def right(said: str, scope: Scope, expected: str, inside: bool) -> bool:
        if replies and inside and scope.gives == "tone":
            return voiced(said, replies) == voiced(expected, replies)
        return said == expected

    total = 0.0
    for (i, _), asked in wants.items():
        total += max(
            sum(
                weight(i, scope, inside)
                for scope, wanted, inside in asked
                if right(said, scope, wanted, inside)
            )
            for _, said, _ in asked
        )
    return total


def balanced_score(summaries: Sequence[ScopeSummary]) -> float:
    """Mean over scopes of the mean of (inside hit, outside unchanged); a scope without an inside counts by
    its outside.
    """
    return fmean(1 - s.outside if s.inside is None else (s.inside + 1 - s.outside) / 2 for s in summaries)
