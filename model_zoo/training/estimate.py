"""What a training will take, measured on a few of its steps before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from ..progress import readable
from ..trunk import token_bytes
from .examples import TrainingEdit
from .meta import MetaTrainer
from .outer import outer_loss

STEPS = 3  # timed of each kind, after one to warm up


@dataclass(frozen=True)
class Estimate:
    """Seconds of one step, with and without kept states (None: none are kept), and of the whole training;
    bytes of memory now and of kept states on disk; different edits among all that are drawn.
    """

    plain_step: float
    kept_step: float | None
    total: float
    memory: int
    disk: int
    draws: int
    different: int

    def in_words(self) -> str:
        """A few lines for people."""
        lines = [
            f"edits        {self.draws}, {self.different} different",
            f"memory       {readable(self.memory)}",
        ]
        if self.kept_step is not None:
            lines.append(
                f"a step       {self.kept_step:.2f} s on kept states, {self.plain_step:.2f} s without "
                f"({self.plain_step / self.kept_step:.1f} times)"
            )
            lines.append(f"disk         {readable(self.disk)} of kept states")
        else:
            lines.append(f"a step       {self.plain_step:.2f} s")
        return "\n".join([*lines, f"time         {self.total / 3600:.1f} hours"])


def estimate(trainer: MetaTrainer) -> Estimate:
    """Run the first steps without learning from them. Where states are kept, every different edit is paid for
    once in full.
    """
    c = trainer.config
    trainer.prepare(fresh=True)
    steps = [trainer.examples(i) for i in range(STEPS + 1)]  # the base has gone on with their prompts now
    plain = _seconds(trainer)
    draws = c.steps * c.edits
    kept, disk, different, total = None, 0, draws, c.steps * plain
    if c.kept_trunk:
        with trainer.kept_trunk():
            _seconds(trainer)
            kept = _seconds(trainer)
        pool = trainer.pool * c.variants
        different = round(pool * (1 - (1 - 1 / pool) ** draws)) if pool else draws
        edits = [edit for step in steps for edit in step.examples]
        tokens = sum(map(_tokens, edits)) / len(edits)
        disk = round(different * tokens * token_bytes(trainer.backbone))
        total = c.steps * kept + different * (plain - kept) / c.edits
    return Estimate(plain, kept, total, psutil.Process().memory_info().rss, disk, draws, different)


def _seconds(trainer: MetaTrainer) -> float:
    """Mean seconds of a step, its update of the network left out."""
    for i in range(STEPS + 1):
        if i == 1:
            start = time.perf_counter()
        with torch.random.fork_rng():
            loss, _ = outer_loss(trainer.editor, trainer.examples(i), trainer.config)
        loss.backward()
        trainer.adam.zero_grad(set_to_none=True)
    return (time.perf_counter() - start) / STEPS


def _tokens(edit: TrainingEdit) -> int:
    rows: Sequence = [edit.edit, edit.plain, *edit.follow, *edit.stay, *edit.own]
    return sum(len(row.ids) for row in rows)
