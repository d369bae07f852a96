"""Which edits each step of a meta-training is made of, by seed and step alone."""

import random
from dataclasses import replace

from ..records import Record
from ..tasks import TASKS, Task
from .examples import Sampler
from .outer import Step


class Drawing:
    """Draws a training's edits by the settings of a sampler, which turns them into tokens."""

    def __init__(self, sampler: Sampler):
        self.sampler, self.source = sampler, sampler.source
        self.config, self.seed = sampler.config, sampler.seed
        self._pools: dict[str, list[Record]] = {}

    def examples(self, step: int, edits: int | None = None) -> Step:
        """The edits of one step, or of a smaller one with so many `edits`; they depend on seed and step
        alone, so a resumed run sees what an unbroken one sees.
        """
        rng, c = random.Random(f"{self.seed} {step}"), self.config
        c = replace(c, edits=edits, crowd=edits) if edits else c
        wordings = (
            self.sampler.wordings(c.wordings, random.Random(f"{self.seed} {step} wordings"))
            if c.instructed
            else ()
        )
        shares = (c.scope_share, c.stack_share, c.crowd_share)
        kind = (
            rng.choices(("alone", "scopes", "stack", "crowd"), (1 - sum(shares), *shares))[0]
            if any(shares)
            else "alone"
        )
        if kind == "scopes":
            return Step(self.sampler.of_scopes(c.edits, rng), wordings=wordings, scoped=True)
        n = c.crowd if kind == "crowd" else c.edits
        names = (
            rng.choices(c.tasks, c.shares, k=n)
            if c.shares
            else [c.tasks[(step + i) % len(c.tasks)] for i in range(n)]
        )
        tasks = [TASKS[name] for name in dict.fromkeys(names)]
        drawn = [
            (task, record) for task in tasks for record in self._drawn(task, names.count(task.name), rng)
        ]
        joint = kind in ("stack", "crowd")
        return Step(self.sampler.of_records(drawn, rng, joint, few=kind == "crowd"), joint, wordings)

    def _drawn(self, task: Task, n: int, rng: random.Random) -> list[Record]:
        """n training records of a task."""
        most = self.config.records
        if not most:
            return self.source.records(task.name, "train", n, rng)
        if task.name not in self._pools:
            drawn = self.source.records(task.name, "train", most, random.Random(f"{self.seed} records"))
            self._pools[task.name] = list(dict.fromkeys(drawn))
        return rng.choices(self._pools[task.name], k=n)

    @property
    def pool(self) -> int:
        """How many records are drawn from; 0 where all that the source has are."""
        if self.config.records:
            for name in self.config.tasks:
                self._drawn(TASKS[name], 0, random.Random(0))
        return sum(map(len, self._pools.values()))
