"""The models that are loaded, shared by all visitors, and what is kept of each."""

import gc
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from model_zoo import editors
from model_zoo.catalog import CATALOG, entry_for
from model_zoo.directions import DirectionSpace
from model_zoo.inspecting import Inspector
from model_zoo.memory import TooLarge
from model_zoo.progress import Progress, no_progress
from model_zoo.studio import Studio

from .settings import Settings
from .visitor import ModelChoice

T = TypeVar("T")
KEPT_STUDIOS = 3  # models that stay loaded
MOST_LOADING = 16  # loadings at once: each holds one of the page's threads, maybe for a long download
HASHED_SECONDS = 60.0  # between two looks at the weights

_LISTED_ONLY = (
    "This public demo loads the listed models with their own editors only. "
    "Run the program yourself for any other."
)
_CLOSED = (
    "The base model or its editor cannot be opened here; choose a listed one, or give a folder or a Hub "
    "repo id."
)
_ALL_LOADING = (
    "{} models are being loaded here already, as many as this server loads at once; everything is as it was. "
    "Try again in a minute."
)
_TERMS = (
    "{0} comes under the {1}, which a visitor cannot accept for whoever runs this public demo. They do it "
    "with 'python -m model_zoo fetch {2} --accept-licence'; choose another base model."
)


class Stopped(Exception):
    """The visitor stopped the loading."""


class Studios:
    """One studio per choice of base model and editor; the least recently used go."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._studios: OrderedDict[ModelChoice, Studio] = OrderedDict()
        self._spaces: dict[ModelChoice, DirectionSpace] = {}
        self._inspectors: dict[ModelChoice, Inspector] = {}
        self._hashed: tuple[float, dict[str, str]] = (-HASHED_SECONDS, {})
        self._lock, self._hashing = threading.Lock(), threading.Lock()
        self._loadings = threading.BoundedSemaphore(MOST_LOADING)

    def loaded(self, choice: ModelChoice) -> bool:
        with self._lock:
            return choice in self._studios

    def studio(self, choice: ModelChoice, progress: Progress = no_progress) -> Studio:
        """The studio of a choice. It is loaded if it is not there yet; `progress` hears how far that is.
        ValueError where it cannot be, or where too many are being loaded.
        """
        with self._lock:
            if choice in self._studios:
                self._studios.move_to_end(choice)
                return self._studios[choice]
        if not self._loadings.acquire(blocking=False):
            raise ValueError(_ALL_LOADING.format(MOST_LOADING))
        try:
            return self._load(choice, progress)
        finally:
            self._loadings.release()

    def _load(self, choice: ModelChoice, progress: Progress) -> Studio:
        try:
            self._permit(choice)
            studio = self._open(choice, progress)
        except TooLarge:
            self._keep(1)  # it may fit once the others are gone
            studio = self._open(choice, progress)
        except OSError as error:  # no path, or one that is closed to this program
            raise ValueError(_CLOSED) from error
        progress("Ready")  # the last chance to stop: what was stopped is not kept
        self._keep(KEPT_STUDIOS - 1)
        with self._lock:
            self._studios[choice] = studio
        return studio

    def _open(self, choice: ModelChoice, progress: Progress) -> Studio:
        from_flags = self.settings.editor if choice.model == self.settings.model else None
        return Studio.open(choice.model, self.settings.options, choice.editor or from_flags, progress)

    def _keep(self, n: int) -> None:
        """Drop the least recently used studios until n are left. The first model always stays."""
        with self._lock:
            others = [choice for choice in self._studios if choice.model != self.settings.model]
            for choice in others[: max(0, len(self._studios) - n)]:
                del self._studios[choice]
                self._spaces.pop(choice, None)
                self._inspectors.pop(choice, None)
        gc.collect()

    def weights(self) -> dict[str, str]:
        """A digest of each loaded model's weights, taken anew once a minute at most."""
        with self._hashing:
            if time.monotonic() - self._hashed[0] > HASHED_SECONDS:
                with self._lock:
                    loaded = dict(self._studios)
                hashes = {str(choice): studio.backbone.weights_hash() for choice, studio in loaded.items()}
                self._hashed = time.monotonic(), hashes
            return self._hashed[1]

    def _permit(self, choice: ModelChoice) -> None:
        """A public demo loads only what the catalogue lists, and accepts no terms for its operator."""
        if not choice.model.strip():
            raise ValueError(
                "No base model is chosen; choose a listed one, or give a folder or a Hub repo id."
            )
        if self.settings.demo and (choice.model not in {*CATALOG, self.settings.model} or choice.editor):
            raise ValueError(_LISTED_ONLY)
        entry = entry_for(choice.model)
        if self.settings.demo and entry.terms and entry.name != self.settings.model:
            raise ValueError(_TERMS.format(entry.title, entry.terms.title, entry.name))

    def opening(self, choice: ModelChoice) -> Iterator[str]:
        """Load a choice in the background, and tell several times a second what is being done.

        Closing this generator stops the loading.
        """
        if self.loaded(choice):
            return
        stop = threading.Event()
        texts: queue.SimpleQueue[str] = queue.SimpleQueue()

        def progress(text: str) -> None:
            if stop.is_set():
                raise Stopped
            texts.put(text)

        pool = ThreadPoolExecutor(1, thread_name_prefix="loading")
        try:
            future, text = pool.submit(self.studio, choice, progress), f"Looking for {choice}…"
            while not future.done():
                yield text
                time.sleep(0.1)
                while not texts.empty():
                    text = texts.get()
            future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False)

    def editors(self, choice: ModelChoice, ask_the_hub: bool) -> list[tuple[str, str]]:
        """(title, source) of each editor for a model: on this machine and, if asked, on the Hub."""
        backbone = self.studio(choice).backbone
        trained = None if self.settings.demo else Path(self.settings.editors)
        found = editors.here(backbone, trained) + (editors.discover(backbone) if ask_the_hub else [])
        return list({item.source: (item.title, item.source) for item in reversed(found)}.values())

    def directions(self, choice: ModelChoice) -> DirectionSpace:
        """The reference edits on the map of a choice."""
        return self._made_once(self._spaces, choice, lambda studio: studio.directions())

    def inspector(self, choice: ModelChoice) -> Inspector:
        """What looks around the edits of a choice; it keeps what the base model says."""
        return self._made_once(self._inspectors, choice, Inspector)

    def _made_once(self, kept: dict[ModelChoice, T], choice: ModelChoice, make: Callable[[Studio], T]) -> T:
        """What is made of a studio once; it goes when the studio does."""
        studio = self.studio(choice)
        with self._lock:
            if choice in kept:
                return kept[choice]
            made = make(studio)
            if self._studios.get(choice) is studio:  # else it was dropped meanwhile
                kept[choice] = made
            return made
