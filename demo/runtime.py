"""Between the page and the engine: studios by model, a visitor's state, and engine errors as sentences."""

import functools
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from model_zoo.catalog import CACHED_BACKBONES, DEFAULT_MODEL
from model_zoo.directions import Atlas
from model_zoo.session import Edit, EditSession
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
    editor: Path | None = None  # for `model`, instead of its own
    share: bool = False


class Visit(NamedTuple):
    """One visitor's state; lives in gr.State (which cannot start from a dataclass that holds tensors) and pickles.

    `sessions` keeps the edits of every model the visitor used, `request` is the edit on show, `record` the reference edit it
    came from, if it came from one.
    """

    model: str = DEFAULT_MODEL
    sessions: Mapping[str, EditSession] = {}
    request: EditRequest | None = None
    record: Record | None = None

    @property
    def session(self) -> EditSession:
        return self.sessions.get(self.model, EditSession())

    def with_session(self, session: EditSession) -> "Visit":
        return self._replace(sessions={**self.sessions, self.model: session})

    def on_model(self, model: str) -> "Visit":
        """The same visitor at another model: its own edits come back, the last one on show."""
        return self if model == self.model else self._replace(model=model, record=None).showing_an_own_edit()

    def showing_an_own_edit(self) -> "Visit":
        """The edit on show stays while it is in the stack; else the last edit takes its place, if there is one."""
        requests = [edit.request for edit in self.session.edits]
        return self if self.request in requests or not requests else self._replace(request=requests[-1])

    @property
    def shown(self) -> Edit | None:
        """The edit on show, if it is on."""
        return next((edit for edit in self.session.active if edit.request == self.request), None)


class Runtime:
    """Shared by all visitors; holds nothing that belongs to one of them."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._studios: OrderedDict[str, Studio] = OrderedDict()
        self._atlases: dict[str, Atlas] = {}
        self._lock = threading.Lock()
        self._files = tempfile.TemporaryDirectory(prefix="instructedit-")

    def studio(self, model: str) -> Studio:
        """The studio of a model; the least recently used one goes when there are too many."""
        with self._lock:
            if model not in self._studios:
                editor = self.settings.editor if model == self.settings.model else None
                self._studios[model] = Studio.open(model, self.settings.device, self.settings.dtype, editor)
                while len(self._studios) > CACHED_BACKBONES:
                    self._atlases.pop(self._studios.popitem(last=False)[0], None)
            self._studios.move_to_end(model)
            return self._studios[model]

    def atlas(self, model: str) -> Atlas:
        """The reference edits of a model's Directions tab."""
        studio = self.studio(model)
        if studio.world is None:
            raise ValueError(f"There are no reference edits for {model}: it was not trained on the atlas. Choose the atlas model.")
        method = studio.method(studio.default_method())
        with self._lock:
            if model not in self._atlases:
                self._atlases[model] = Atlas(studio.backbone, method, studio.world)
            return self._atlases[model]

    def delta_file(self, visit: Visit) -> str:
        """The visitor's patch as a file. Gradio copies it before the next one is made, so each replaces the last."""
        patch = visit.session.patch(self.studio(visit.model).method)
        if patch is None:
            raise ValueError("No edit is on, so there is nothing to download. Switch one on or make one.")
        return str(patch.save(Path(self._files.name)))


def sentences(handler: Callable) -> Callable:
    """Turn the engine's ValueErrors into messages on the page; the inputs stay as they are. Anything else is logged."""

    @functools.wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            yield from handler(*args, **kwargs)
        except gr.Error:
            raise
        except ValueError as error:
            raise gr.Error(str(error), title="That did not work", duration=12) from error
        except Exception as error:
            logging.getLogger(__name__).exception("handler failed")
            raise gr.Error("Something failed inside; your inputs are kept. The server's log has the details.", title="That did not work") from error

    return wrapped
