"""Whose turn it is to compute: one at a time, in the order of asking, and nobody who has gone."""

import functools
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from model_zoo.generation import GIVEN_UP, GivenUp

from .counters import Counters
from .sharing import LOOKED, Gone, Stop, Superseded, superseding, wanting

try:
    import spaces
except ImportError:  # only there on a Hugging Face Space
    spaces = None

TAKE_LONG = (
    "measure",
    "apply_all",
    "compare",
    "inspect",
    "train",
    "map",
)  # the works that take turns with others, step by step
# the works that give way, once begun, where their visitor asks for what is told in the same place
GIVE_WAY = ("life", "show_edit", "inspect", "compare")


class Slot:
    """A turn is one step of a piece of work: those who have begun a short one go before the others, in the
    order of asking, who does a long one takes turns with them.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._line: deque[tuple[bool, object]] = deque()  # whether it was begun, and a ticket
        self._busy = False

    @property
    def waiting(self) -> int:
        return len(self._line)

    @contextmanager
    def turn(self, begun: bool = False, wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Wait for a turn and take it. Gone where nobody wants the result any more."""
        ticket = (begun, object())
        with self._change:
            self._line.insert(sum(own for own, _ in self._line) if begun else len(self._line), ticket)
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
        yield from self._counted(method.__name__, self._in_turns(method.__name__, args))

    def result(self: "Works", *args: Any) -> Any:
        (only,) = results(self, *args)
        return only

    return functools.wraps(method)(results if inspect.isgeneratorfunction(method) else result)


def shared_gpu_work(size: Callable[[Any], int]) -> Callable[[Callable], Callable]:
    """Decorates generators of Works that serve several visitors in one batch where several wait.

    The method takes a model's choice and a list of items, and yields lists with a result for each. Callers
    give one item, whose `size` in characters decides who has room beside it, and get its results.
    """

    def decorate(method: Callable) -> Callable:
        def results(self: "Works", choice: Any, item: Any) -> Iterator[Any]:
            ride = self._stop(method.__name__, choice).ride(item, size(item))
            yield from self._counted(method.__name__, ride)

        return functools.wraps(method)(results)

    return decorate


class Works:
    """Whose decorated methods are worked off in turns, where the GPU is."""

    def __init__(self, on_gpu: Callable[[Callable], Callable] = on_gpu):
        self._on_gpu = on_gpu(self._work)
        self.slot, self.counters = Slot(), Counters()
        self._stops: dict[tuple[str, Any], Stop] = {}

    def _stop(self, name: str, choice: Any) -> Stop:
        """Where visitors wait for a shared work on a model."""

        def run(steps: Iterator[Any], wanted: Callable[[], bool]) -> Iterator[Any]:
            return self._turns(steps, name not in TAKE_LONG, wanted)

        def work(items: list[Any]) -> Iterator[list[Any]]:
            return self._on_gpu(name, (choice, items))

        stop = Stop(run, work, functools.partial(self.counters.together, name))
        return self._stops.setdefault((name, choice), stop)

    def _in_turns(self, name: str, args: tuple) -> Iterator[Any]:
        """The results of a visitor's own piece of work."""
        superseded = superseding() if name in GIVE_WAY else lambda: False
        yield from self._turns(iter(self._on_gpu(name, args)), name not in TAKE_LONG, wanting(), superseded)

    def _turns(
        self,
        steps: Iterator[Any],
        short: bool,
        listens: Callable[[], bool],
        superseded: Callable[[], bool] = lambda: False,
    ) -> Iterator[Any]:
        """The steps of a piece of work, each in a turn; between them others have theirs. Gone where nobody
        listens any more, Superseded where something else took its place after its first step.
        """
        begun = False

        def wanted() -> bool:
            return listens() and not (begun and superseded())

        try:
            while True:
                with self.slot.turn(begun and short, wanted):
                    asked = GIVEN_UP.set(lambda: not wanted())
                    try:
                        result = next(steps)
                    except StopIteration:
                        return
                    except GivenUp as error:
                        raise Gone from error
                    finally:
                        GIVEN_UP.reset(asked)
                begun = True
                yield result
        except Gone as error:
            if begun and superseded():
                raise Superseded from error
            raise
        finally:
            if close := getattr(steps, "close", None):
                close()

    def _counted(self, name: str, results: Iterator[Any]) -> Iterator[Any]:
        """The results, and a note of how they ended and after how long."""
        start, end = time.monotonic(), "gone"
        try:
            yield from results
            end = "done"
        except (GeneratorExit, Gone):
            raise
        except BaseException:
            end = "failed"
            raise
        finally:
            self.counters.add(name, end, time.monotonic() - start)

    def _work(self, name: str, args: tuple) -> Iterator[Any]:
        """Run the body of a decorated method, where the GPU is."""
        result = getattr(type(self), name).__wrapped__(self, *args)
        yield from result if isinstance(result, Iterator) else (result,)
