"""The base models a person can pick, where their editors lie, and the one cache of loaded backbones."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from .backbone import Backbone, pick_device

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "atlas"
CACHED_BACKBONES = 2


@dataclass(frozen=True)
class CatalogEntry:
    """`source`: folder or repo id; `editor`: folder of the editor that ships with it; `knows_atlas`: trained on the world."""

    name: str
    title: str
    source: str | Path
    editor: Path | None = None
    knows_atlas: bool = False


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (CatalogEntry("atlas", "atlas (5M, offline)", WEIGHTS / "atlas" / "base", WEIGHTS / "atlas" / "editor", knows_atlas=True),)
}


def entry_for(model: str) -> CatalogEntry:
    """The catalogue's entry, or a plain one for a local folder or a repo id."""
    return CATALOG.get(model) or CatalogEntry(model, model, model)


class _BackboneCache:
    """The project's only shared mutable state besides the metrics: loaded backbones, least recently used last out."""

    def __init__(self, capacity: int):
        self._capacity, self._lock, self._loaded = capacity, threading.Lock(), OrderedDict()

    def get(self, model: str, device: str, dtype: str) -> Backbone:
        key = (model, pick_device(device), dtype)
        with self._lock:
            if key not in self._loaded:
                entry = entry_for(model)
                if isinstance(entry.source, Path) and not entry.source.exists():
                    raise ValueError(f"The weights of '{model}' are missing at {entry.source}; make them with 'python -m model_zoo atlas rebuild'.")
                self._loaded[key] = Backbone.load(entry.source, device, dtype, name=entry.name)
                while len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]


_CACHE = _BackboneCache(CACHED_BACKBONES)


def load_backbone(model: str = DEFAULT_MODEL, device: str = "auto", dtype: str = "auto") -> Backbone:
    """A backbone by catalogue name, folder or repo id; loaded once, shared by everyone (it is never written)."""
    return _CACHE.get(model, device, dtype)
