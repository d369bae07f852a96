"""A training as events: what the page draws and the command line tells, both of one loop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..processes import together

SHOWN_EVERY = 20  # steps
SMOOTH = 0.95  # of a running mean stays at every step
MOST_POINTS = 400  # of a curve


@dataclass(frozen=True)
class Preparing:
    """What is done now that takes longer than a step, in words."""

    text: str


@dataclass(frozen=True)
class Look:
    """Held-out edits made with the editor as it is after `step` steps: their outer loss, the shares of their
    prompts that do as they should (reliability, generality, locality, generated as evaluation has it), and
    whether the loss is below that of every look before.
    """

    step: int
    loss: float
    shares: Mapping[str, float]
    better: bool

    def in_words(self) -> str:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        return f"step {self.step}: loss {self.loss:.3f}, {shares}"


@dataclass(frozen=True)
class Stepped:
    """One step of `steps` is done: the loss and its parts, the seconds that the rest will take, and a look at
    held-out edits where one was due.
    """

    step: int
    steps: int
    parts: Mapping[str, float]
    left: float
    look: Look | None = None


@dataclass(frozen=True)
class Finished:
    """The editor lies in `folder`: it is that of step `kept`, and `step` of `steps` were taken."""

    folder: Path
    step: int
    steps: int
    kept: int


TrainingEvent = Preparing | Stepped | Finished


class Curve:
    """The loss of a training so far, `smoothed` as a running mean, as (step, loss) `points`, no more than
    MOST_POINTS of them, and the looks at held-out edits, each with the smoothed loss there.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.looks: list[tuple[Look, float]] = []
        self.smoothed: dict[str, float] = {}
        self._every = 1

    def add(self, event: Stepped) -> None:
        before = self.smoothed
        self.smoothed = {k: SMOOTH * before.get(k, v) + (1 - SMOOTH) * v for k, v in event.parts.items()}
        if event.step % self._every == 0:
            self.points.append((event.step, self.smoothed["loss"]))
        if len(self.points) > MOST_POINTS:
            self._every *= 2
            self.points = [point for point in self.points if point[0] % self._every == 0]
        if event.look:
            self.looks.append((event.look, self.smoothed["loss"]))


class Pace:
    """Seconds that the rest of a training will take, from the pace since this was made."""

    def __init__(self, step: int, steps: int):
        self._start, self._first, self._steps = time.monotonic(), step, steps

    def left(self, step: int) -> float:
        return (time.monotonic() - self._start) / max(step - self._first, 1) * (self._steps - step)


def follow(events: Iterator[TrainingEvent]) -> None:
    """Run a training to its end behind a progress bar, and tell its looks at held-out edits.
    KeyboardInterrupt where Ctrl-C or a plain kill ended it before, once the step at hand was done.
    """
    curve = Curve()
    bar = tqdm(desc="editor", unit="step", mininterval=2, disable=not together().first)
    with bar, asked_to_stop() as asked, closing(events):  # type: ignore[type-var]  # a generator
        for event in events:
            if isinstance(event, Stepped):
                _drawn(bar, event, curve)
            elif isinstance(event, Preparing):
                bar.set_description_str(event.text.rstrip("…"))
            if asked.is_set() and not isinstance(event, Finished):
                raise KeyboardInterrupt


def _drawn(bar: tqdm, event: Stepped, curve: Curve) -> None:
    """Move the bar on by a step."""
    if bar.total is None:
        bar.reset(event.steps)
        bar.initial = bar.n = event.step - 1  # a resumed one
    curve.add(event)
    bar.set_description_str("editor", refresh=False)
    bar.update()
    if event.step % SHOWN_EVERY == 0:
        bar.set_postfix({name: f"{v:.3f}" for name, v in curve.smoothed.items()})
    if event.look and not bar.disable:
        bar.write(f"Held-out edits after {event.look.in_words()}", file=sys.stderr)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Within this block a first Ctrl-C or plain kill is only noted in the event; a second one ends the
    process at once. Of several processes none may stop alone, so there the first one does.
    """
    asked, usual = threading.Event(), dict[int, Any]()

    def put_back() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        put_back()
        asked.set()
        os.write(2, b"\nStopping after this step; once more stops at once.\n")

    if threading.current_thread() is threading.main_thread() and together().size == 1:
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        usual = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    for number in usual:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        put_back()
