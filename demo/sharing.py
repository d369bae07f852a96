"""Visitors who wait for the same work on the same model share the next batch: a row of it costs much less
than a turn of one's own.
"""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gradio.context import LocalContext

LOOKED = 0.2  # seconds between two looks whether who waits is still there
MOST_TOGETHER = 16  # visitors in a batch
MOST_PADDED = 16_000  # characters of a batch, each text as long as the longest


class Gone(Exception):
    """Nobody waits any more for what was to be computed."""


class Superseded(Gone):
    """The visitor asked for something else before all of this was told."""


def wanting() -> Callable[[], bool]:
    """Tells, from whichever thread, whether the client of the event that this thread handles still listens;
    always True outside of an event.
    """
    page, event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event is None:
        return lambda: True

    def wanted() -> bool:
        # one that was cancelled is not there
        return any(job.alive for job in _active(page) if job._id == event)

    return wanted


def superseding() -> Callable[[], bool]:
    """Tells, from whichever thread, whether the client of the event that this thread handles asked later for
    another one, in the same queue, that draws all that this one draws; always False outside of an event.
    """
    page, event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    own = next((job for job in _active(page) if job._id == event), None) if page else None
    if page is None or own is None:
        return lambda: False
    line, draws = page._queue.event_queue_per_concurrency_id[own.concurrency_id].queue, set(own.fn.outputs)
    return lambda: any(
        other.enqueue_time > own.enqueue_time
        and (other.session_hash, other.concurrency_id) == (own.session_hash, own.concurrency_id)
        and draws <= set(other.fn.outputs)
        for other in (*line, *_active(page))
    )


def _active(page: Any) -> list[Any]:
    """The events that a page's queues work on."""
    return [job for jobs in tuple(page._queue.active_jobs) if jobs for job in tuple(jobs)]


class _Told(NamedTuple):
    """What a rider is told: a result, an error, or (with neither) that this is the end."""

    result: Any = None
    error: BaseException | None = None
    end: bool = False


class Rider:
    """One visitor's part in a batch: an item, and the results that come for it."""

    def __init__(self, item: Any, size: int):
        self.item, self.size = item, size
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._left, self._wanted = False, wanting()

    @property
    def wanted(self) -> bool:
        return not self._left and self._wanted()

    def tell(self, result: Any = None, error: BaseException | None = None, end: bool = False) -> None:
        self._told.put(_Told(result, error, end))

    def results(self) -> Iterator[Any]:
        """What comes for this rider. Gone where nobody waits for it any more."""
        try:
            while True:
                try:
                    told = self._told.get(timeout=LOOKED)
                except queue.Empty:
                    if not self.wanted:
                        raise Gone from None
                    continue
                if told.error is not None:
                    raise told.error
                if told.end:
                    return
                yield told.result
        finally:
            self._left = True


class Stop:
    """Where the riders of one kind of work on one model wait for the next batch.

    `run(steps, wanted)` gives the steps of a piece of work in turns of the model, for as long as it is
    `wanted`; `work(items)` gives for each step a result for every item.
    """

    def __init__(
        self,
        run: Callable[[Iterator[Any], Callable[[], bool]], Iterator[Any]],
        work: Callable[[list[Any]], Iterator[list[Any]]],
        started: Callable[[int], None],
    ):
        """`started` hears how many share each batch."""
        self._run, self._work, self._started = run, work, started
        self._waiting: list[Rider] = []
        self._lock = threading.Lock()

    def ride(self, item: Any, size: int) -> Iterator[Any]:
        """The results for an item, whose text has `size` characters."""
        rider = Rider(item, size)
        with self._lock:
            self._waiting.append(rider)
            if len(self._waiting) == 1:
                self._send_a_batch()
        yield from rider.results()

    def _send_a_batch(self) -> None:
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._batch,), name="batch", daemon=True).start()

    def _batch(self) -> None:
        """Wait for the model, take who waits by then, and serve them."""
        aboard: list[Rider] = []

        def steps() -> Iterator[list[Any]]:
            aboard.extend(self._take())
            self._started(len(aboard))
            yield from self._work([rider.item for rider in aboard])

        try:
            for results in self._run(steps(), lambda: any(r.wanted for r in aboard or list(self._waiting))):
                for rider, result in zip(aboard, results, strict=True):
                    rider.tell(result)
        except BaseException as error:  # noqa: BLE001 - handed to who waits for the results
            if isinstance(error, Gone) and not aboard:
                self._go_on()
            else:
                self._failed(aboard or self._take(all_of_them=True), error)
            return
        for rider in aboard:
            rider.tell(end=True)

    def _go_on(self) -> None:
        """Everybody had left before the batch began: the next is for who has come since."""
        with self._lock:
            self._waiting = [rider for rider in self._waiting if rider.wanted]
            if self._waiting:
                self._send_a_batch()

    def _take(self, all_of_them: bool = False) -> list[Rider]:
        """Who comes along: the first in line, and those behind as far as there is room."""
        with self._lock:
            n = longest = 0
            for rider in self._waiting:
                longest = max(longest, rider.size)
                full = n == MOST_TOGETHER or (n + 1) * longest > MOST_PADDED
                if full and n and not all_of_them:
                    break
                n += 1
            taken, self._waiting = self._waiting[:n], self._waiting[n:]
            if self._waiting:
                self._send_a_batch()
            return taken

    def _failed(self, aboard: list[Rider], error: BaseException) -> None:
        """Serve each alone where a batch of several failed: the error is one visitor's, not everybody's."""
        if len(aboard) == 1 or isinstance(error, Gone):
            for rider in aboard:
                rider.tell(error=error)
            return
        for rider in aboard:
            self._alone(rider)

    def _alone(self, rider: Rider) -> None:
        try:
            for (result,) in self._run(self._work([rider.item]), lambda: rider.wanted):
                rider.tell(result)
            rider.tell(end=True)
        except BaseException as error:  # noqa: BLE001 - handed to who waits for the results
            rider.tell(error=error)
