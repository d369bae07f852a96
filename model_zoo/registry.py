"""Named entries: built from a list, refused twice, looked up with an error that names the known ones."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any


def registered(what: str, entries: Iterable[Any]) -> MappingProxyType[str, Any]:
    """Entries by their `name`, in order; `what` they are is for the error when two share one."""
    found: dict[str, Any] = {}
    for entry in entries:
        assert entry.name not in found, f"{what} {entry.name} is registered twice"
        found[entry.name] = entry
    return MappingProxyType(found)


def find(what: str, registry: Mapping[str, Any], name: str) -> Any:
    """The entry of that name; ValueError names the known ones."""
    if name not in registry:
        raise ValueError(f"There is no {what} '{name}'; the {what}s are: {', '.join(registry)}.")
    return registry[name]
