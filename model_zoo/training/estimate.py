"""What a training will take, measured on a few edits before it starts.

A whole step of a model with a large vocabulary takes minutes, and so does measuring its keys: a few edits of
a step are timed, and some of the statements whose keys are measured, and both are scaled up.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psutil
import torch

from ..progress import duration, readable
from ..sources import Neighbours
from ..trunk import token_bytes
from .examples import TrainingEdit
from .held_out import HeldOut
from .meta import MetaTrainer
from .outer import Step, outer_loss

EDITS = 2  # of a step that is timed
STEPS, SECONDS = 3, 2.0  # timed of each kind, after one to warm up: no more when so many seconds are over
STATEMENTS = 16  # whose keys are timed
RATES = 3  # that are tried before the first step, where the first is about right
SAMPLED = 0.005  # seconds between two looks at the memory


@dataclass(frozen=True)
class Estimate:
    """Seconds before the first step, of one step, with and without kept states (None: none are kept), of a
    look at held-out edits (`looks` of them), and of the whole training; bytes of memory and of kept states on
    disk; different edits among all that are drawn.
    """

    before: float
    plain_step: float
    kept_step: float | None
    look: float
    looks: int
    total: float
    memory: int
    disk: int
    draws: int
    different: int

    def in_words(self) -> dict[str, str]:
        """What it comes to, for people: figures by name."""
        told = {
            "edits": f"{self.draws:,}, {self.different:,} different",
            "memory": f"about {readable(self.memory)}",
            "before": f"{duration(self.before)} until the first step",
            "a step": f"{self.plain_step:.2f} s",
        }
        if self.kept_step is not None:
            told["a step"] = (
                f"{self.kept_step:.2f} s, {self.plain_step:.2f} s where its edits are met for the first time"
            )
            told["disk"] = f"{readable(self.disk)}, in the cache folder"
        if self.looks:
            told["looks"] = f"{self.looks} at held-out edits, {duration(self.look)} each"
        return told | {"time": duration(self.total)}


@dataclass
class _Memory:
    """Bytes of this process at first, and the most of them while something runs."""

    process: psutil.Process = field(default_factory=psutil.Process)
    first: int = 0
    most: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.first = self.most = self.process.memory_info().rss
        done = threading.Event()

        def look() -> None:
            while not done.wait(SAMPLED):
                self.most = max(self.most, self.process.memory_info().rss)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def estimate(trainer: MetaTrainer) -> Estimate:
    """Run some edits of the first steps without learning from them. Where states are kept, every different
    edit is paid for once in full. The trainer is for nothing else afterwards: it knows no neighbours, for
    which the base would read every fact of a source first; as many others take their place.
    """
    trainer.drawn.sampler.neighbours = Neighbours()
    c = trainer.config
    few, memory = min(EDITS, c.edits), _Memory()
    whole = c.edits / few  # a step is so many times what is timed
    with memory.watched():
        # each edit alone: a joint solve is over keys that were measured
        drawn, steps = _timed(lambda i: replace(trainer.drawn.examples(i, few), joint=False))
        learned, _ = _timed(lambda i: _learn(trainer, steps[i % len(steps)]))
    plain = whole * (drawn + learned)
    before = _keys(trainer) + c.calibration * whole * _timed(lambda i: _capture(trainer, steps[0]))[0]
    before += RATES * plain if c.rates_found else 0
    draws = c.steps * c.edits
    look = _look(trainer)
    looks = trainer.watch.looks.among(c.steps) if look else 0
    around = before + looks * look
    kept, disk, different, total = None, 0, draws, around + c.steps * plain
    if c.kept_trunk:
        with trainer.kept_trunk():
            for step in steps:
                _learn(trainer, step)
            kept = whole * _timed(lambda i: _learn(trainer, steps[i % len(steps)]))[0]
        pool = trainer.drawn.pool * c.variants
        different = round(pool * (1 - (1 - 1 / pool) ** draws)) if pool else draws
        edits = [edit for step in steps for edit in step.examples]
        disk = round(different * sum(map(_tokens, edits)) / len(edits) * token_bytes(trainer.backbone))
        total = around + c.steps * kept + different * (plain - kept) / c.edits
    network = sum(p.numel() * p.element_size() for p in trainer.editor.network.parameters())
    most = memory.first + whole * (memory.most - memory.first) + 2 * network  # Adam's two moments
    return Estimate(before, plain, kept, look, looks, total, round(most), disk, draws, different)


def _timed(work: Callable[[int], object]) -> tuple[float, list]:
    """(mean seconds, results) of work on the first few numbers, less the seconds of one to warm up."""
    results, start, n = [work(0)], time.perf_counter(), 0
    while n < STEPS and time.perf_counter() - start < SECONDS:
        n += 1
        results.append(work(n))
    return (time.perf_counter() - start) / n, results


def _learn(trainer: MetaTrainer, step: Step) -> None:
    """A step's forward and backward pass, its update of the network left out."""
    with torch.random.fork_rng():
        loss, _ = outer_loss(trainer.editor, step, trainer.config)
    loss.backward()
    trainer.adam.zero_grad(set_to_none=True)


def _capture(trainer: MetaTrainer, step: Step) -> None:
    trainer.editor.capture([example.edit for example in step.examples])


def _keys(trainer: MetaTrainer) -> float:
    """Seconds that measuring the base's keys will take, where it is measured."""
    if not trainer.editor.measures_keys:
        return 0.0
    pairs, paths = trainer.source.statements(trainer.seed), list(trainer.editor.config.modules)
    rows = [trainer.backbone.join(*pair) for pair in pairs[:STATEMENTS]]
    seconds, _ = _timed(lambda i: trainer.backbone.inputs(rows, paths))
    return seconds * len(pairs) / len(rows)


def _look(trainer: MetaTrainer) -> float:
    """About the seconds of a look at held-out edits; 0 where there is none. Most of them go into generating,
    where the rows of few edits take little less than those of all: they share batches.
    """
    looks = trainer.watch.looks
    if not looks.every:
        return 0.0
    start, few = time.perf_counter(), replace(looks, edits=EDITS)
    try:
        HeldOut(trainer.editor, trainer.source, trainer.drawn.sampler, few, trainer.seed).look()
    except ValueError:  # none are kept aside
        return 0.0
    return time.perf_counter() - start


def _tokens(edit: TrainingEdit) -> int:
    rows: Sequence = [edit.edit, edit.plain, *edit.follow, *edit.stay, *edit.own]
    return sum(len(row.ids) for row in rows)
