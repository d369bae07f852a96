"""Beyond the paper: the same edit under instructions that say how far it should reach."""

import random
from collections.abc import Sequence
from dataclasses import asdict

from ..evaluation.scopes import Wording, balanced_score, blind_ceiling, scope_rows, summarise_scopes
from ..methods import EditMethod
from ..scopes import SCOPES, Scope
from .base import Experiment
from .lab import Lab
from .render import SCOPE_VIEW


def _shuffled(scope: Scope, rng: random.Random) -> str:
    words = rng.choice(scope.unseen).split()
    rng.shuffle(words)
    return " ".join(words)


def _wrong(scope: Scope, rng: random.Random) -> str:
    return rng.choice(SCOPES[rng.choice([name for name in SCOPES if name != scope.name])].unseen)


SCOPE_WORDINGS: dict[str, Wording] = {
    "unseen wordings": lambda scope, rng: rng.choice(scope.unseen),
    "another author's wordings": lambda scope, rng: rng.choice(scope.independent),
    "wordings from training": lambda scope, rng: scope.drawn(rng),
    "another scope's wording": _wrong,
    "the words of an unseen wording shuffled": _shuffled,
    "an empty instruction": lambda scope, rng: "",
}


def scopes(lab: Lab) -> list[dict]:
    """InstructEdit under right and wrong wordings; MEND trained on scoped edits too, whose instructions it
    does not see.
    """
    cases = lab.source.scope_cases("test", lab.n, random.Random(f"scopes {lab.seed}"))
    variants: list[tuple[str, EditMethod, Wording]] = [
        (f"InstructEdit, {name}", lab.scoped(), wording) for name, wording in SCOPE_WORDINGS.items()
    ]
    variants.append((lab.blind_title, lab.blind(), lambda scope, rng: None))
    rows, ceiling = [], blind_ceiling(cases, replies=lab.source.replies)
    for name, method, wording in variants:
        measured = scope_rows(lab.backbone, method, cases, wording, lab.seed, replies=lab.source.replies)
        summaries = summarise_scopes(measured, lab.seed)
        rows += [
            {"variant": name, **asdict(s), "balanced": balanced_score(summaries), "ceiling": ceiling}
            for s in summaries
        ]
    return rows


def _finding(rows: Sequence[dict]) -> str:
    first = rows[0]
    return (
        f"Under {first['variant'].partition(', ')[2]} {first['balanced']:.1%} of the prompts do as they are "
        f"told, every scope and both sides counting alike; whoever cannot read the instruction comes to "
        f"{first['ceiling']:.1%} at most."
    )


SCOPE = Experiment(
    "scopes",
    "The instruction decides how far an edit reaches",
    "Does the same edit change one sentence, a subject, a category, the tone or nothing, as it is told?",
    scopes,
    _finding,
    uses_finished=True,
    view=SCOPE_VIEW,
)
