"""Between the page and the engine: studios by model, a visitor's state, and engine errors as sentences."""

import functools
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from model_zoo.catalog import DEFAULT_MODEL
from model_zoo.delta import Factors
from model_zoo.directions import Atlas
from model_zoo.session import EditSession
from model_zoo.studio import Studio
from model_zoo.tasks import Record
from model_zoo.tasks.request import EditRequest

COMPUTE = {"concurrency_id": "compute", "concurrency_limit": 1}  # every handler that runs the model shares one slot


@dataclass(frozen=True)
class Settings:
    """What app.py's flags decide."""

    host: str = "127.0.0.1"
    port: int | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    share: bool = False


class Visit(NamedTuple):
    """One visitor's state: their model, their edits, and the edit that is on show. Pickles; lives in gr.State (which cannot
    start from a dataclass that holds tensors)."""

    model: str = DEFAULT_MODEL
    session: EditSession = EditSession()
    request: EditRequest | None = None
    record: Record | None = None  # where the shown edit came from, if it came from a reference edit


class Runtime:
    """Shared by all visitors; holds nothing that belongs to one of them."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._studios: dict[str, Studio] = {}
        self._atlases: dict[str, Atlas] = {}
        self._lock = threading.Lock()

    def studio(self, model: str) -> Studio:
        with self._lock:
            if model not in self._studios:
                self._studios[model] = Studio.open(model, self.settings.device, self.settings.dtype)
            return self._studios[model]

    def atlas(self, model: str) -> Atlas:
        """The reference edits of a model's Directions tab."""
        studio = self.studio(model)
        if studio.world is None:
            raise ValueError(f"There are no reference edits for {model}; the Directions tab needs the atlas model.")
        method = studio.method(studio.default_method())
        with self._lock:
            if model not in self._atlases:
                self._atlases[model] = Atlas(studio.backbone, method, studio.world)
            return self._atlases[model]

    def factors(self, visit: Visit) -> Factors | None:
        return self.studio(visit.model).factors(visit.session)

    def delta_file(self, visit: Visit) -> str | None:
        """The visitor's patch as a file to download; None when no edit is on."""
        patch = visit.session.patch(self.studio(visit.model).method)
        # gradio copies the file into its own cache and serves it from there
        return None if patch is None else str(patch.save(Path(tempfile.mkdtemp(prefix="instructedit-"))))


def sentences(handler: Callable) -> Callable:
    """Turn the engine's ValueErrors into messages on the page; the inputs stay as they are."""

    @functools.wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            yield from handler(*args, **kwargs)
        except ValueError as error:
            raise gr.Error(str(error), title="That did not work", duration=12) from error

    return wrapped
