"""What the server has done, in numbers: no word of what visitors typed."""

import threading
import time
from collections import Counter, deque
from statistics import quantiles
from typing import Any

REMEMBERED = 1000  # durations of a kind of work


class Counters:
    """How often each kind of work was finished, given up or failed, and how long the last ones took."""

    def __init__(self) -> None:
        self._lock, self._started = threading.Lock(), time.monotonic()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, deque[float]] = {}
        self._widths: dict[str, deque[int]] = {}

    def add(self, work: str, end: str, seconds: float) -> None:
        """`end`: "done", "gone" (nobody waited for it any more) or "failed"."""
        with self._lock:
            self._counted[work, end] += 1
            if end == "done":
                self._seconds.setdefault(work, deque(maxlen=REMEMBERED)).append(seconds)

    def together(self, work: str, visitors: int) -> None:
        """So many visitors share a batch."""
        with self._lock:
            self._widths.setdefault(work, deque(maxlen=REMEMBERED)).append(visitors)

    def to_dict(self) -> dict[str, Any]:
        with self._lock:
            told: dict[str, Any] = {}
            for (work, end), n in sorted(self._counted.items()):
                told.setdefault(work, {})[end] = n
            for work, seconds in self._seconds.items():
                told[work]["seconds"] = _quantiles(list(seconds))
            for work, widths in self._widths.items():
                width = {"mean": round(sum(widths) / len(widths), 2), "most": max(widths)}
                told.setdefault(work, {})["visitors_in_a_batch"] = width
        return {"up_seconds": round(time.monotonic() - self._started, 1), "work": told}


def _quantiles(seconds: list[float]) -> dict[str, float]:
    """Of how long it took, the waiting included."""
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {name: round(cuts[place - 1], 3) for name, place in (("p50", 50), ("p95", 95), ("p99", 99))}
