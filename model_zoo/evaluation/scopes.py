"""Does an edit reach as far as its instruction says? Every case is edited once under each scope, and all its probes are asked."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..atlas.world import Opinions
from ..backbone import Backbone
from ..delta import Factors
from ..generation import generate
from ..methods import EditMethod
from ..scopes import SCOPES, Scope, ScopeCase
from .sentiment import voiced
from .summary import clustered_interval
from .text import starts_with, unchanged

Wording = Callable[[Scope, random.Random], str | None]
BATCH = 8  # edits proposed at once, with all their probes


@dataclass(frozen=True)
class ScopeRow:
    """One probe under one scope. `inside`: the scope wants another answer than the base model's. `hit`: it says that answer (where
    only the tone is wanted: voices that sentiment), or stays as it was where nothing is wanted. `mood`: the wanted sentiment is
    voiced, where one is wanted."""

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
    backbone: Backbone, method: EditMethod, cases: Sequence[ScopeCase], wording: Wording, seed: int = 0,
    scopes: Sequence[Scope] = tuple(SCOPES.values()), opinions: Opinions | None = None,
) -> list[ScopeRow]:  # fmt: skip
    """Rows of every case under every scope, each edit alone; `wording(scope, rng)` is the instruction."""
    rng = random.Random(seed)
    todo = [(i, case, scope, wording(scope, rng)) for i, case in enumerate(cases) for scope in scopes]
    before = _before(backbone, cases)
    rows = []
    for start in range(0, len(todo), BATCH):
        part = todo[start : start + BATCH]
        deltas = method.propose([case.request(instruction) for _, case, _, instruction in part])
        owner = [n for n, (_, case, _, _) in enumerate(part) for _ in case.probes]
        prompts = [probe.prompt for _, case, _, _ in part for probe in case.probes]
        after = iter(generate(backbone, prompts, Factors.of(deltas, owner, backbone.device)))
        for i, case, scope, _ in part:
            rows += [_row(i, case, scope, probe, before[probe.prompt], next(after), opinions) for probe in case.probes]
    return rows


def _before(backbone: Backbone, cases: Sequence[ScopeCase]) -> dict[str, str]:
    prompts = list(dict.fromkeys(probe.prompt for case in cases for probe in case.probes))
    parts = [prompts[i : i + 128] for i in range(0, len(prompts), 128)]
    return {prompt: text for part in parts for prompt, text in zip(part, generate(backbone, part), strict=True)}


def _row(i: int, case: ScopeCase, scope: Scope, probe, before: str, after: str, opinions: Opinions | None) -> ScopeRow:
    expected = scope.expected(case, probe)
    inside = expected != probe.answer
    hit = starts_with(after, expected) if inside else unchanged(before, after, probe.answer)
    wanted = voiced(expected, opinions.replies) if opinions and inside else None
    mood = voiced(after, opinions.replies) == wanted if wanted else None
    if mood is not None and scope.gives == "tone":  # the mood is what was asked for, in whatever words
        hit = mood
    return ScopeRow(i, case.subject, scope.name, probe.kind, inside, probe.prompt, expected, before, after, hit, mood)


@dataclass(frozen=True)
class ScopeSummary:
    """Of one scope: the share of probes inside it that change as it wants and of those outside that change, with 95% intervals."""

    scope: str
    inside: float | None
    inside_interval: tuple[float, float] | None
    outside: float
    outside_interval: tuple[float, float]
    mood: float | None
    n: int  # edits


def summarise_scopes(rows: Sequence[ScopeRow], seed: int = 0) -> list[ScopeSummary]:
    """Means over cases of each case's mean over probes, intervals clustered by subject."""
    found = []
    for scope in dict.fromkeys(row.scope for row in rows):
        own = [row for row in rows if row.scope == scope]
        inside = _mean_of_cases([row for row in own if row.inside], lambda row: row.hit, seed)
        outside = _mean_of_cases([row for row in own if not row.inside], lambda row: not row.hit, seed)
        mood = [row.mood for row in own if row.mood is not None]
        cases = len({row.case for row in own})
        found.append(ScopeSummary(scope, *(inside or (None, None)), *outside, fmean(mood) if mood else None, cases))
    return found


def _mean_of_cases(rows: Sequence[ScopeRow], value: Callable[[ScopeRow], bool], seed: int) -> tuple[float, tuple[float, float]] | None:
    cases: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        cases[row.case].append(float(value(row)))
    if not cases:
        return None
    subject = {row.case: row.subject for row in rows}
    means = [fmean(values) for values in cases.values()]
    return fmean(means), clustered_interval(means, [subject[case] for case in cases], seed)


def blind_ceiling(cases: Sequence[ScopeCase], scopes: Sequence[Scope] = tuple(SCOPES.values())) -> float:
    """The best balanced score of any policy that cannot read the instruction: one answer per case and probe, whatever the scope.

    The balanced score is the mean over scopes of the mean of (inside hit, outside unchanged). It is linear in the single hits, so the
    best answer to each probe is the one whose scopes weigh most.
    """
    wants = [(i, probe.prompt, scope.name, scope.expected(case, probe), scope.expected(case, probe) != probe.answer)
             for i, case in enumerate(cases) for probe in case.probes for scope in scopes]  # fmt: skip
    size: dict[tuple[str, bool], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for i, _, scope, _, inside in wants:
        size[scope, inside][i] += 1
    votes: dict[tuple[int, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for i, prompt, scope, answer, inside in wants:
        sides = sum((scope, side) in size for side in (True, False))
        votes[i, prompt][answer] += 1 / (len(scopes) * sides * len(size[scope, inside]) * size[scope, inside][i])
    return sum(max(answers.values()) for answers in votes.values())


def balanced_score(summaries: Sequence[ScopeSummary]) -> float:
    """Mean over scopes of the mean of (inside hit, outside unchanged); a scope without an inside counts by its outside."""
    return fmean(1 - s.outside if s.inside is None else (s.inside + 1 - s.outside) / 2 for s in summaries)
