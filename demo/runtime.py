"""Between the page and the engine: studios by model, a visitor's state, the GPU, and engine errors as sentences."""

import functools
import gc
import logging
import os
import queue
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from model_zoo import editors
from model_zoo.atlas import load_world
from model_zoo.catalog import CATALOG, DEFAULT_MODEL
from model_zoo.directions import Atlas
from model_zoo.export import export, get_format
from model_zoo.loading import LoadOptions
from model_zoo.memory import TooLarge
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession
from model_zoo.studio import Studio
from model_zoo.tasks import Record

try:
    import spaces
except ImportError:  # only there on a Hugging Face Space
    spaces = None

COMPUTE = {"concurrency_id": "compute", "concurrency_limit": 1}  # every handler that runs the model shares one slot
LOADING = {"concurrency_id": "loading", "concurrency_limit": None}  # mostly waiting: a download keeps nobody from editing
LARGE, FEW_REFERENCES = 5e7, 10  # on a CPU, models beyond so many weights are mapped among so many reference edits per task
KEPT_STUDIOS = 3  # places loaded at once
KEPT_FILES_SECONDS = 600  # Gradio has copied a download long before


@dataclass(frozen=True)
class Settings:
    """What app.py's flags decide. `demo`: a public Space, where visitors choose from the catalogue only."""

    host: str = "127.0.0.1"
    port: int | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    editor: str | None = None  # for `model`, instead of its own
    share: bool = False
    demo: bool = field(default_factory=lambda: "SPACE_ID" in os.environ)

    @property
    def options(self) -> LoadOptions:
        return LoadOptions(self.device, self.dtype, self.quantize)


class Place(NamedTuple):
    """Where edits are made: a base model and an editor for it ("" is the model's own, or none)."""

    model: str = DEFAULT_MODEL
    editor: str = ""

    def __str__(self) -> str:
        return f"{self.model} with {self.editor}" if self.editor else self.model


class Visit(NamedTuple):
    """One visitor's state; lives in gr.State (which cannot start from a dataclass that holds tensors) and pickles.

    `sessions` keeps the edits of every place the visitor used, `request` is the edit on show, `record` the reference edit it
    came from, if it came from one.
    """

    place: Place = Place()
    sessions: Mapping[Place, EditSession] = {}
    request: EditRequest | None = None
    record: Record | None = None

    @property
    def session(self) -> EditSession:
        return self.sessions.get(self.place, EditSession())

    def with_session(self, session: EditSession) -> "Visit":
        return self._replace(sessions={**self.sessions, self.place: session})

    def at(self, place: Place) -> "Visit":
        """The same visitor at another place: the edits made there come back, the last one on show."""
        return self if place == self.place else self._replace(place=place, record=None).showing_an_own_edit()

    def showing_an_own_edit(self) -> "Visit":
        """The edit on show stays while it is in the stack; else the last edit takes its place, if there is one."""
        requests = [edit.request for edit in self.session.edits]
        return self if self.request in requests or not requests else self._replace(request=requests[-1])

    @property
    def shown(self) -> Edit | None:
        """The edit on show, if it is on."""
        return next((edit for edit in self.session.active if edit.request == self.request), None)


class Stopped(Exception):
    """The visitor stopped the loading."""


def on_gpu(function: Callable) -> Callable:
    """On a ZeroGPU Space the function runs in a forked worker that holds the GPU; elsewhere it is left as it is."""
    return spaces.GPU(function) if spaces else function


class Runtime:
    """Shared by all visitors; holds nothing that belongs to one of them."""

    def __init__(self, settings: Settings, on_gpu: Callable[[Callable], Callable] = on_gpu):
        self.settings = settings
        self._studios: OrderedDict[Place, Studio] = OrderedDict()
        self._atlases: dict[Place, Atlas] = {}
        self._lock = threading.Lock()
        self._files = tempfile.TemporaryDirectory(prefix="instructedit-")
        self._on_gpu = on_gpu(self._operate)

    # ---- models ------------------------------------------------------------------------------------------------------

    def loaded(self, place: Place) -> bool:
        with self._lock:
            return place in self._studios

    def studio(self, place: Place, say: Callable[[str], None] = lambda text: None) -> Studio:
        """The studio of a place, loaded where it is not there yet; the least recently used one goes when there are too many."""
        with self._lock:
            if place in self._studios:
                self._studios.move_to_end(place)
                return self._studios[place]
        self._permit(place)
        own = self.settings.editor if place.model == self.settings.model else None
        try:
            made = Studio.open(place.model, self.settings.options, place.editor or own, say)
        except TooLarge:
            self._keep(1)  # it may fit once the others are gone
            made = Studio.open(place.model, self.settings.options, place.editor or own, say)
        say("Ready")  # the last chance to stop: what was stopped is not kept
        self._keep(KEPT_STUDIOS - 1)
        with self._lock:
            self._studios[place] = made
        return made

    def _keep(self, n: int) -> None:
        """Let go of the least recently used studios but n (the first page's own model always stays)."""
        with self._lock:
            others = [place for place in self._studios if place.model != self.settings.model]
            for place in others[: max(0, len(self._studios) - n)]:
                del self._studios[place]
                self._atlases.pop(place, None)
        gc.collect()

    def _permit(self, place: Place) -> None:
        """On a public demo only what the catalogue lists is loaded."""
        if self.settings.demo and (place.model not in {*CATALOG, self.settings.model} or place.editor):
            raise ValueError("This public demo loads the listed models with their own editors only. Run the program yourself for any other.")

    def opening(self, place: Place) -> Iterator[str]:
        """What is being done while a place is loaded, as often as a page wants to hear it. Closing the generator stops the loading."""
        if self.loaded(place):
            return
        stop, said = threading.Event(), queue.SimpleQueue()

        def say(text: str) -> None:
            if stop.is_set():
                raise Stopped
            said.put(text)

        pool = ThreadPoolExecutor(1, thread_name_prefix="loading")
        try:
            future, text = pool.submit(self.studio, place, say), f"Looking for {place}…"
            while not future.done():
                yield text
                time.sleep(0.1)
                while not said.empty():
                    text = said.get()
            future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False)

    def editors(self, place: Place, ask_the_hub: bool) -> list[tuple[str, str]]:
        """Editors to choose from for a loaded model, as (what a person reads, what is meant): here, and on the Hub if asked."""
        backbone = self.studio(place).backbone
        found = editors.here(backbone) + (editors.discover(backbone) if ask_the_hub else [])
        return list({item.source: (item.title, item.source) for item in reversed(found)}.values())

    # ---- work --------------------------------------------------------------------------------------------------------

    def run(self, place: Place, operation: str, *args: Any) -> Iterator[Any]:
        """Run one of a studio's operations, or the map, where the GPU is; yields its results. Arguments and results are plain CPU values."""
        yield from self._on_gpu(place, operation, args)

    def _operate(self, place: Place, operation: str, args: tuple) -> Iterator[Any]:
        work = functools.partial(self._map, place) if operation == "map" else getattr(self.studio(place), operation)
        result = work(*args)
        yield from result if isinstance(result, Iterator) else (result,)

    def once(self, place: Place, operation: str, *args: Any) -> Any:
        """`run` for an operation with a single result."""
        (result,) = self.run(place, operation, *args)
        return result

    def atlas(self, place: Place) -> Atlas:
        """The reference edits of a place's Directions tab."""
        studio = self.studio(place)
        method = studio.method(studio.default_method())
        large = studio.backbone.device.type == "cpu" and studio.backbone.parameters > LARGE
        with self._lock:
            if place not in self._atlases:
                self._atlases[place] = Atlas(studio.backbone, method, load_world(), *((FEW_REFERENCES,) if large else ()))
            return self._atlases[place]

    def _map(self, place: Place, own: list[EditRequest], view: str, instructed: bool, module: str):
        """(map, modules to choose from, where the visitor's own edits fall)."""
        atlas = self.atlas(place)
        module = module if module in atlas.modules else atlas.modules[0]
        view = view if view in atlas.views else atlas.views[0]
        drawn = atlas.map(view, instructed, module)
        return drawn, atlas.modules, [atlas.project(request, view, instructed, module) for request in own]

    # ---- files -------------------------------------------------------------------------------------------------------

    def export_file(self, visit: Visit, format_name: str) -> str:
        """The visitor's patch in a format, as one file: the delta as it is, a folder zipped."""
        studio, entry = self.studio(visit.place), get_format(format_name)
        if self.settings.demo and entry.whole_model and visit.place.model != DEFAULT_MODEL:
            raise ValueError("This public demo merges the small embedded model only; take the LoRA adapter, or run the program yourself.")
        self._drop_old_files()
        folder = Path(tempfile.mkdtemp(dir=self._files.name)) / f"edited-{format_name}"
        export(studio.backbone, visit.session, visit.session.patch(studio.method), format_name, folder)
        single = folder / "delta.safetensors"
        return str(single) if single.exists() else shutil.make_archive(str(folder), "zip", folder.parent, folder.name)

    def _drop_old_files(self) -> None:
        for path in Path(self._files.name).iterdir():
            if time.time() - path.stat().st_mtime > KEPT_FILES_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


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


def one(function: Callable) -> Callable:
    """A handler that yields one value and tells its errors in sentences."""

    def handler(*args):
        yield function(*args)

    return sentences(handler)


def stops(button: gr.Button, events: list, say: Callable, outputs: list) -> None:
    """Let a button cancel events and say so. Two listeners in this order: what is said before the cancelling can be overwritten by
    what the cancelled event says last."""
    button.click(None, cancels=events, api_visibility="private")
    button.click(say, None, outputs, api_visibility="private", show_progress="hidden")
