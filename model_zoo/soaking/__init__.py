"""A crowd of clients against the page's HTTP API, and what became of edits, weights and memory."""

import os
import platform
from typing import Any

from .crowd import WARM_UP, Crowd, Load
from .server import Server, served_here

__all__ = ["Crowd", "Load", "Server", "served_here", "summed_up"]

MEMORY_MAY_GROW = 0.10  # from after the warm-up to the end


def summed_up(
    server: Server, crowd: Crowd, load: Load, before: dict[str, Any], minutes: float
) -> dict[str, Any]:
    """The figures of a crowd's visit as plain data; `failed` says in words what did not hold.

    `before`: what the server said of itself when the crowd came.
    """
    alive = server.alive
    after = server.health() if alive else {}
    figures = load.to_dict()
    same = alive and all(after["weights"].get(name) == kept for name, kept in before["weights"].items())
    failed = {
        "the server ended": not alive,
        f"{server.tracebacks} errors were caught by nobody": server.tracebacks > 0,
        f"{len(load.leaks)} answers held another's edit": bool(load.leaks),
        f"{len(load.differences)} answers were others than alone": bool(load.differences),
        f"{load.unanswered} requests were not answered": load.unanswered > 0,
        "the base model's weights changed": not same,
        "memory grew by more than 10%": load.memory_end > load.memory_warm * (1 + MEMORY_MAY_GROW),
    }
    return {
        "clients": crowd.n,
        "minutes": minutes,
        "warm_up_minutes": round(minutes * WARM_UP, 2),
        "model": crowd.model,
        "seed": crowd.seed,
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "kind": platform.machine()},
        "failed": [text for text, is_so in failed.items() if is_so],
        **figures,
        "weights": before["weights"],
        "weights_same": same,
        "server": after,
    }
