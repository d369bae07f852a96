"""The base models a person can pick, and the one cache of loaded backbones."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

from .backbone import Backbone
from .loading import LoadOptions, load
from .progress import Progress, no_progress

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "atlas"


def _editors_in(folder: Path) -> dict[str, Path]:
    """The trained editors that lie beside a base model, by method."""
    return {
        name: folder / part
        for name, part in (("instructedit", "editor"), ("mend", "editor-mend"))
        if (folder / part).is_dir()
    }


@dataclass(frozen=True)
class CatalogEntry:
    """`source`: folder or repo id; `editors`: folders of the editors that ship, by method; `dtype`: what
    "auto" means for it; `parameters` in millions.
    """

    name: str
    title: str
    source: str | Path
    editors: Mapping[str, Path] = field(default_factory=dict)
    dtype: str = "auto"
    parameters: float | None = None
    licence: str = ""
    gated: bool = False

    @property
    def about(self) -> str:
        """Size, licence, memory and editor in one line."""
        if self.parameters is None:
            return "A model of your own; whether it fits is checked before it is loaded"
        billion = self.parameters / 1000
        size = f"{billion:.1f} billion weights" if billion >= 1 else f"{self.parameters:.0f} million weights"
        # float32 on a CPU, 16 bits on a GPU; an edit's own work comes on top
        memory = (
            "0.1 GB" if billion < 0.02 else f"{billion * 4:.1f} GB on a CPU, {billion * 2:.1f} GB on a GPU"
        )
        editor = "its editor ships" if self.editors else "no editor ships: look on the Hub, or use FT-L"
        return f"{size} · {self.licence}{', gated' if self.gated else ''} · {memory} · {editor}"


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        # stored in float16 to be small; its editor was trained on, and captures gradients in, float32
        CatalogEntry(
            "atlas",
            "atlas (5M, offline)",
            WEIGHTS / "atlas" / "base",
            _editors_in(WEIGHTS / "atlas"),
            "fp32",
            5.0,
            "MIT licence",
        ),
        CatalogEntry("gpt2", "GPT-2 (124M)", "openai-community/gpt2", parameters=124, licence="MIT licence"),
        CatalogEntry(
            "gpt2-xl", "GPT-2 XL (1.6B)", "openai-community/gpt2-xl", parameters=1558, licence="MIT licence"
        ),
        CatalogEntry(
            "smollm2-135m",
            "SmolLM2 (135M)",
            "HuggingFaceTB/SmolLM2-135M",
            parameters=135,
            licence="Apache 2.0 licence",
        ),
        CatalogEntry(
            "qwen2.5-0.5b",
            "Qwen2.5 (0.5B)",
            "Qwen/Qwen2.5-0.5B",
            parameters=494,
            licence="Apache 2.0 licence",
        ),
        CatalogEntry(
            "qwen3-0.6b", "Qwen3 (0.6B)", "Qwen/Qwen3-0.6B-Base", parameters=596, licence="Apache 2.0 licence"
        ),
        CatalogEntry(
            "llama-3.2-1b",
            "Llama 3.2 (1B)",
            "meta-llama/Llama-3.2-1B",
            parameters=1236,
            licence="Llama 3.2 licence",
            gated=True,
        ),
        CatalogEntry(
            "llama-2-7b",
            "Llama 2 (7B)",
            "meta-llama/Llama-2-7b-hf",
            parameters=6738,
            licence="Llama 2 licence",
            gated=True,
        ),
    )
}


def entry_for(model: str) -> CatalogEntry:
    """The catalogue's entry; or one for a folder with base/ and editor/, a model folder, or a repo id."""
    if model in CATALOG:
        return CATALOG[model]
    folder = Path(model)
    if (folder / "base").is_dir():
        return CatalogEntry(model, model, folder / "base", _editors_in(folder), "fp32")
    return CatalogEntry(model, model, model)


class _BackboneCache:
    """The project's only shared mutable state besides the metrics: backbones that somebody holds, so that
    nobody loads them twice.

    Loading holds only its own model's lock: a long download keeps nobody from the models that are there.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._loaded: WeakValueDictionary[tuple[str, LoadOptions], Backbone] = WeakValueDictionary()
        self._loading: dict[tuple[str, LoadOptions], threading.Lock] = {}

    def get(self, model: str, options: LoadOptions, progress: Progress) -> Backbone:
        entry = entry_for(model)
        if options.dtype == "auto" and not options.quantize:
            options = replace(options, dtype=entry.dtype)
        key = (model, options)
        with self._lock:
            one_at_a_time = self._loading.setdefault(key, threading.Lock())
        with one_at_a_time:
            if (backbone := self._loaded.get(key)) is None:
                if isinstance(entry.source, Path) and not entry.source.exists():
                    raise ValueError(
                        f"The weights of '{model}' are missing at {entry.source}; make them with 'python -m "
                        "model_zoo atlas rebuild'."
                    )
                self._loaded[key] = backbone = load(entry.source, options, entry.name, progress)
            return backbone


_CACHE = _BackboneCache()


def load_backbone(
    model: str = DEFAULT_MODEL, options: LoadOptions | None = None, progress: Progress = no_progress
) -> Backbone:
    """A backbone by catalogue name, folder or repo id; shared with everyone who holds it (it is never
    written).
    """
    return _CACHE.get(model, options or LoadOptions(), progress)
