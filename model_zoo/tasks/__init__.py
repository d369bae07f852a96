"""Editing tasks: what an edit is for and how its instruction is worded. One task per file and one line in
TASKS.
"""

from types import MappingProxyType

from ..registry import find, registered
from .base import Task
from .convsent import CONVSENT
from .counterfact import COUNTERFACT
from .recent import RECENT
from .zsre import ZSRE

__all__ = ["TASKS", "Task", "get_task"]

TASKS: MappingProxyType[str, Task] = registered("task", (COUNTERFACT, RECENT, CONVSENT, ZSRE))


def get_task(name: str) -> Task:
    """The registered task; ValueError names the known ones."""
    return find("task", TASKS, name)
