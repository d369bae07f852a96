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
    """`source`: folder or repo id; `editor`: folder of its trained editor; `dtype`: what "auto" means for it."""

    name: str
    title: str
    source: str | Path
    editor: Path | None = None
    dtype: str = "auto"


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        # stored in float16 to be small; its editor was trained on, and captures gradients in, float32
        CatalogEntry("atlas", "atlas (5M, offline)", WEIGHTS / "atlas" / "base", WEIGHTS / "atlas" / "editor", "fp32"),
    )
}


def entry_for(model: str) -> CatalogEntry:
    """The catalogue's entry; or one for a folder that holds base/ and editor/, a model folder, or a repo id."""
    if model in CATALOG:
        return CATALOG[model]
    folder = Path(model)
    if (folder / "base").is_dir():
        editor = folder / "editor"
        return CatalogEntry(model, model, folder / "base", editor if editor.is_dir() else None, "fp32")
    return CatalogEntry(model, model, model)


class _BackboneCache:
    """The project's only shared mutable state besides the metrics: loaded backbones, least recently used last out."""

    def __init__(self, capacity: int):
        self._capacity, self._lock, self._loaded = capacity, threading.Lock(), OrderedDict()

    def get(self, model: str, device: str, dtype: str) -> Backbone:
        entry = entry_for(model)
        key = (model, pick_device(device), entry.dtype if dtype == "auto" else dtype)
        with self._lock:
            if key not in self._loaded:
                if isinstance(entry.source, Path) and not entry.source.exists():
                    raise ValueError(f"The weights of '{model}' are missing at {entry.source}; make them with 'python -m model_zoo atlas rebuild'.")
                self._loaded[key] = Backbone.load(entry.source, *key[1:], name=entry.name)
                while len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]


_CACHE = _BackboneCache(CACHED_BACKBONES)


def load_backbone(model: str = DEFAULT_MODEL, device: str = "auto", dtype: str = "auto") -> Backbone:
    """A backbone by catalogue name, folder or repo id; loaded once, shared by everyone (it is never written)."""
    return _CACHE.get(model, device, dtype)
