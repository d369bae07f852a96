"""Whose turn it is to compute: one at a time, in the order of asking, and nobody who has gone."""

import functools
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gradio.context import LocalContext

from .counters import Counters

try:
    import spaces
except ImportError:  # only there on a Hugging Face Space
    spaces = None

LOOKED = 0.2  # seconds between two looks whether who waits is still there
TAKE_LONG = (
    "measure",
    "apply_all",
    "compare",
    "inspect",
)  # the works that take turns with others, step by step


class Gone(Exception):
    """Nobody waits any more for what was to be computed."""


def still_wanted() -> bool:
    """Whether the client of the event that this thread handles still listens; True outside of an event."""
    page, event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event is None:
        return True
    jobs = (job for jobs in page._queue.active_jobs if jobs for job in jobs)
    return next((job.alive for job in jobs if job._id == event), True)


def before_us(concurrency_id: str) -> int:
    """How many events of a queue are waiting or being handled; 0 outside of a page."""
    page = LocalContext.blocks.get(None)
    queue = page._queue.event_queue_per_concurrency_id.get(concurrency_id) if page else None
    return len(queue.queue) + queue.current_concurrency if queue else 0


class Slot:
    """A turn is one step of a piece of work: who has begun a short one goes before the others, who does a
    long one takes turns with them.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._line: deque[object] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        return len(self._line)

    @contextmanager
    def turn(self, begun: bool = False, wanted: Callable[[], bool] = still_wanted) -> Iterator[None]:
        """Wait for a turn and take it. Gone where nobody wants the result any more."""
        ticket = object()
        with self._change:
            self._line.insert(0 if begun else len(self._line), ticket)
            try:
                while self._busy or self._line[0] is not ticket:
                    self._change.wait(LOOKED)
                    if not wanted():
                        raise Gone
                self._busy = True
            finally:
                self._line.remove(ticket)
                self._change.notify_all()
        try:
            yield
        finally:
            with self._change:
                self._busy = False
                self._change.notify_all()


def on_gpu(function: Callable) -> Callable:
    """On a ZeroGPU Space the function runs in a forked process with the GPU; elsewhere as it is."""
    return spaces.GPU(function) if spaces else function


def gpu_work(method: Callable) -> Callable:
    """Decorates methods of Works that run where the GPU is.

    What goes in and what comes out may be pickled on the way, so both must be plain values on the CPU.
    A generator's results arrive one by one, each in a turn of its own.
    """

    def results(self: "Works", *args: Any) -> Iterator[Any]:
        yield from self._in_turns(method.__name__, args)

    def result(self: "Works", *args: Any) -> Any:
        (only,) = self._in_turns(method.__name__, args)
        return only

    return functools.wraps(method)(results if inspect.isgeneratorfunction(method) else result)


class Works:
    """Whose decorated methods are worked off in turns, where the GPU is."""

    def __init__(self, on_gpu: Callable[[Callable], Callable] = on_gpu):
        self._on_gpu = on_gpu(self._work)
        self.slot, self.counters = Slot(), Counters()

    def _in_turns(self, name: str, args: tuple) -> Iterator[Any]:
        """The results of a piece of work, step by step; between its steps others have their turn."""
        start, begun, end = time.monotonic(), False, "gone"
        steps = iter(self._on_gpu(name, args))
        try:
            while True:
                with self.slot.turn(begun and name not in TAKE_LONG):
                    try:
                        result = next(steps)
                    except StopIteration:
                        end = "done"
                        return
                begun = True
                yield result
        except (GeneratorExit, Gone):
            raise
        except BaseException:
            end = "failed"
            raise
        finally:
            if close := getattr(steps, "close", None):
                close()
            self.counters.add(name, end, time.monotonic() - start)

    def _work(self, name: str, args: tuple) -> Iterator[Any]:
        """Run the body of a decorated method, where the GPU is."""
        result = getattr(type(self), name).__wrapped__(self, *args)
        yield from result if isinstance(result, Iterator) else (result,)
