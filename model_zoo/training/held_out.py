"""Looks at held-out edits while an editor is trained: a handful of the source's test records, always the same
ones, made with the editor as it is.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from ..changes import patch_of
from ..evaluation.planning import Plan, cases_of
from ..evaluation.scoring import Baseline, Row, score
from ..methods.hypernetwork_method import HypernetworkMethod
from ..processes import together
from ..records import Record
from ..sources import Source
from ..tasks import TASKS
from .config import MetaConfig
from .examples import Sampler
from .following import Look
from .outer import Step, outer_loss

LOOKS = 10  # in a training
FEWEST_STEPS = 20  # between two looks
PROBES = 2  # of each kind that a held-out edit is asked
METRICS = ("reliability", "generality", "locality")


@dataclass(frozen=True)
class Looks:
    """How often (in steps) and at how many held-out edits of all tasks; with `patience`, training ends after
    so many looks in a row that were not better than the best.
    """

    every: int
    edits: int = 9
    patience: int = 0

    @classmethod
    def during(cls, steps: int, patience: int = 0) -> "Looks":
        """A few times in a training of so many steps."""
        return cls(max(FEWEST_STEPS, math.ceil(steps / LOOKS)), patience=patience)

    def among(self, steps: int) -> int:
        """How many there are in so many steps."""
        return math.ceil(steps / self.every) if self.every else 0


class Watch:
    """What was seen of held-out edits so far: `looked`, and the network's tensors at the `best` look, which
    are kept where training ends by them.
    """

    def __init__(self, looks: Looks):
        self.looks, self.looked = looks, list[Look]()
        self.best: dict[str, Tensor] = {}
        self._edits: HeldOut | None = None

    def begin(self, editor: HypernetworkMethod, source: Source, sampler: Sampler, seed: int) -> None:
        """Draw the held-out edits, if any are asked for. ValueError where training should end by them and the
        source has none.
        """
        if not self.looks.every:
            return
        try:
            self._edits = HeldOut(editor, source, sampler, self.looks, seed)
        except ValueError:
            if self.looks.patience:
                raise

    def due(self, step: int, last: bool) -> bool:
        """Whether held-out edits are looked at after a step, as they are after the last one."""
        return self._edits is not None and (step % self.looks.every == 0 or last)

    def missed(self, step: int, last: bool) -> bool:
        """Whether a look that was due after a step was given up."""
        return step > 0 and self.due(step, last) and all(look.step != step for look in self.looked)

    def look(self, step: int) -> Look:
        """How held-out edits fare after a step. To be called where a look is due."""
        assert self._edits  # it is due
        loss, shares = self._edits.look()
        look = Look(step, loss, shares, all(loss < before.loss for before in self.looked))
        self.looked.append(look)
        if look.better and self.looks.patience:
            network = self._edits.editor.network.state_dict()
            self.best = {name: tensor.detach().clone() for name, tensor in network.items()}
        return look

    def kept(self, step: int) -> int:
        """The step whose weights are kept where training ends after this one."""
        return max(look.step for look in self.looked if look.better) if self.best else step

    @property
    def tired(self) -> bool:
        """Whether patience is over: so many looks in a row were not better."""
        n = self.looks.patience
        return 0 < n <= len(self.looked) and not any(look.better for look in self.looked[-n:])


class HeldOut:
    """The held-out edits of a training. ValueError where the source has none."""

    def __init__(self, editor: HypernetworkMethod, source: Source, sampler: Sampler, looks: Looks, seed: int):
        self.editor, self.config = editor, sampler.config
        drawn = _drawn(source, sampler.config, max(looks.edits, together().size), seed)
        if not drawn:
            raise ValueError(
                f"{source.title} holds no records for testing, so there are no held-out edits to stop "
                "by; give files for them (--test), or leave --patience out."
            )
        rng, backbone = random.Random(f"{seed} held out"), editor.backbone
        pairs = [(TASKS[name], record) for name, records in drawn.items() for record in records]
        self._step = Step(sampler.of_records(pairs, rng, joint=False, few=False))
        plan = Plan(backbone.name, (), (), len(pairs), most_probes=PROBES)
        self._cases = [
            case
            for name, records in drawn.items()
            for case in cases_of(records, name, plan, backbone, source)[0]
        ]
        self._baseline = Baseline(backbone)

    def look(self) -> tuple[float, dict[str, float]]:
        """(outer loss, share of prompts by metric) with the editor as it is."""
        with torch.no_grad():
            loss, _ = outer_loss(self.editor, self._step, self.config)
        told = together().sums({"loss": loss.item()})
        patches = [patch_of(change) for change in self.editor.propose([c.request for c in self._cases])]
        rows = score(self.editor.backbone, self._baseline, self._cases, patches) if self._cases else []
        return told["loss"], _shares(rows)


def _drawn(source: Source, config: MetaConfig, n: int, seed: int) -> dict[str, list[Record]]:
    """n different test records of the tasks in equal parts, fewer where there are no more."""
    found: dict[str, list[Record]] = {}
    for name in config.tasks:
        rng = random.Random(f"{seed} held out {name}")
        try:
            records = source.records(name, "test", math.ceil(n / len(config.tasks)), rng)
        except ValueError:  # no file for testing, and too few subjects to keep any aside
            continue
        found[name] = list(dict.fromkeys(records))
    return found


def _shares(rows: Sequence[Row]) -> dict[str, float]:
    values = {
        m: [row.generated for row in rows if row.metric == m and row.generated is not None] for m in METRICS
    }
    return {metric: fmean(own) for metric, own in values.items() if own}
