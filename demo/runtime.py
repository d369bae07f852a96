"""What all visitors share: settings, loaded models, work on the GPU, files to download."""

import gc
import os
import queue
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from model_zoo import editors, hub
from model_zoo.catalog import CATALOG, DEFAULT_MODEL, entry_for
from model_zoo.comparing import Compared, comparing, comparing_scopes
from model_zoo.directions import DirectionSpace
from model_zoo.evaluation import Case, Plan
from model_zoo.events import Event, Reached
from model_zoo.export import export, get_format
from model_zoo.inspecting import Finding, Inspector
from model_zoo.loading import LoadOptions
from model_zoo.many import AfterAll, Order, SoFar, applying
from model_zoo.memory import TooLarge
from model_zoo.methods import Hyperparameters
from model_zoo.progress import Progress, no_progress
from model_zoo.records import Record
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession
from model_zoo.session_files import load_session, save_session
from model_zoo.studio import Studio
from model_zoo.training.following import TrainingEvent
from model_zoo.training.order import training

from .trainings import STEPS_SECONDS, Wanted, alone, folder_for, ordered, together_for
from .turns import Works, gpu_work, on_gpu, shared_gpu_work
from .visitor import ModelChoice, VisitorState

KEPT_STUDIOS = 3  # models that stay loaded
MOST_LOADING = 16  # loadings at once: each holds one of the page's threads, maybe for a long download
MOST_ROWS = 10_000  # of a visitor's file are read
HASHED_SECONDS = 60.0  # between two looks at the weights
KEPT_FILES_SECONDS = 600  # by then Gradio has long copied a download

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
_MERGES_ONE = (
    "This public demo merges the small embedded model only; take the LoRA adapter, "
    "or run the program yourself."
)


@dataclass(frozen=True)
class Settings:
    """What app.py's flags decide. With `demo` the page is a public Space, which loads listed models only."""

    host: str = "127.0.0.1"
    port: int | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    editor: str | None = None  # for `model`, instead of its own
    share: bool = False
    demo: bool = field(default_factory=lambda: "SPACE_ID" in os.environ)
    accept_licence: bool = False  # of `model`
    auth: Path | None = None  # names and passwords of who may come in
    editors: str = "editors"  # the folder for those that are trained from the page

    @property
    def options(self) -> LoadOptions:
        return LoadOptions(self.device, self.dtype, self.quantize)


class Question(NamedTuple):
    """What a visitor asks under the edits of a session; with `chat`, a chat model in its template."""

    prompt: str
    session: EditSession
    chat: bool


class Stopped(Exception):
    """The visitor stopped the loading."""


class Runtime(Works):
    """Shared by all visitors. It holds nothing that belongs to one of them."""

    def __init__(self, settings: Settings, on_gpu: Callable[[Callable], Callable] = on_gpu):
        super().__init__(on_gpu)
        self.settings = settings
        self._studios: OrderedDict[ModelChoice, Studio] = OrderedDict()
        self._spaces: dict[ModelChoice, DirectionSpace] = {}
        self._inspectors: dict[ModelChoice, Inspector] = {}
        self._hashed: tuple[float, dict[str, str]] = (-HASHED_SECONDS, {})
        self._lock, self._hashing, self._training = (threading.Lock() for _ in range(3))
        self._loadings = threading.BoundedSemaphore(MOST_LOADING)
        self._files = tempfile.TemporaryDirectory(prefix="instructedit-")

    # ---- models -------------------------------------------------------------------------------------------

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

    def _permit_training(self) -> None:
        if self.settings.demo:
            raise ValueError("This public demo trains no editors; run the program yourself to train one.")

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

    # ---- work on the GPU ----------------------------------------------------------------------------------

    @gpu_work
    def life(
        self,
        choice: ModelChoice,
        request: EditRequest,
        method: str,
        strength: float,
        session: EditSession,
        record: Record | None,
        hyper: Hyperparameters | None,
    ) -> Iterator[Event]:
        """An edit from its making on top of a session to its verdicts."""
        yield from self.studio(choice).life(request, method, strength, session, record, hyper=hyper)

    @gpu_work
    def edit(
        self, choice: ModelChoice, request: EditRequest, method: str, strength: float, session: EditSession
    ):
        """(report, session): an edit on top of a session, with everything about it."""
        return self.studio(choice).edit(request, method, strength, session)

    @gpu_work
    def show_edit(
        self,
        choice: ModelChoice,
        request: EditRequest,
        session: EditSession,
        judged: bool,
        record: Record | None,
    ) -> Iterator[Event]:
        """An edit's own prompt under a session: text so far, probabilities and, if `judged`, verdicts."""
        yield from self.studio(choice).show(request, session, judged, record)

    @shared_gpu_work(size=lambda question: len(question.prompt))
    def ask(self, choice: ModelChoice, questions: list[Question]) -> Iterator[list[tuple[str, str]]]:
        """(before, after) of each question, as they grow."""
        studio = self.studio(choice)
        prompts = [studio.backbone.asked(q.prompt, q.chat) for q in questions]
        yield from studio.asks(prompts, [studio.patch(q.session) for q in questions])

    @gpu_work
    def compare_scopes(
        self, choice: ModelChoice, prompt: str, target: str, instructions: Sequence[str]
    ) -> Iterator[list[Reached]]:
        """The probes around an edit that was made under each instruction, as they are asked."""
        yield from comparing_scopes(self.studio(choice), prompt, target, instructions)

    @gpu_work
    def compare(
        self,
        choice: ModelChoice,
        request: EditRequest,
        methods: Sequence[str],
        hyper: Mapping[str, Hyperparameters],
        others: Sequence[EditRequest],
    ) -> Iterator[Compared]:
        """The same edit made by each method, with the others in one model, as they come."""
        yield from comparing(self.studio(choice), request, methods, hyper, others)

    @gpu_work
    def inspect(self, choice: ModelChoice, edit: Edit, session: EditSession) -> Iterator[Finding]:
        """What an edit changes beside itself, as it is found."""
        yield from self.inspector(choice).inspect(edit, session)

    @gpu_work
    def measure(self, choice: ModelChoice, plan: Plan) -> Iterator[tuple]:
        """(groups done, groups in all, results) of an evaluation. The results come last."""
        yield from self.studio(choice).measure(plan)

    @gpu_work
    def apply_all(
        self, choice: ModelChoice, cases: Sequence[Case], method: str, session: EditSession, order: Order
    ) -> Iterator[SoFar | AfterAll]:
        """Many edits on top of a session: how far it is, the result last."""
        yield from applying(self.studio(choice), cases, method, session, order)

    @gpu_work
    def estimate(self, choice: ModelChoice, wanted: Wanted) -> dict[str, str]:
        """What a training will take: figures in words, by name."""
        self._permit_training()
        return training(ordered(self.studio(choice), wanted)).estimate()

    @gpu_work
    def train(self, choice: ModelChoice, wanted: Wanted) -> Iterator[list[TrainingEvent]]:
        """A training's events, some steps at a time. One editor is trained at a time."""
        self._permit_training()
        folder = folder_for(Path(self.settings.editors), wanted.name)
        with alone(self._training):
            order = ordered(self.studio(choice), wanted)
            yield from together_for(training(order).events(folder), STEPS_SECONDS)

    def training_ended(self, within: float) -> bool:
        """Whether no editor is being trained; waits so many seconds for that."""
        free = self._training.acquire(timeout=within)
        if free:
            self._training.release()
        return free

    def push_editor(self, folder: Path, repo: str, private: bool) -> str:
        """Publish an editor that was trained here, in the name of who runs this program; its address."""
        self._permit_training()
        if self.settings.share:
            raise ValueError(
                "Whoever has this page's public address would publish in the name of who runs it; use "
                "`python -m model_zoo push` there, or start without --share."
            )
        return hub.address(repo, editors.push(folder, repo, private))

    @gpu_work
    def map(
        self, choice: ModelChoice, own: list[EditRequest], view: str, instructed: bool, module: str
    ) -> Iterator[float | tuple]:
        """The share of the reference edits that is made, as it grows; last (map, modules to choose from,
        where the visitor's own edits fall).
        """
        space = self.directions(choice)
        module = module if module in space.modules else space.modules[0]
        view = view if view in space.views else space.views[0]
        yield from space.steps(view, instructed)
        drawn = space.map(view, instructed, module)
        yield drawn, space.modules, [space.project(request, view, instructed, module) for request in own]

    def directions(self, choice: ModelChoice) -> DirectionSpace:
        """The reference edits on the map of a choice."""
        studio = self.studio(choice)
        with self._lock:
            if choice not in self._spaces:
                self._spaces[choice] = studio.directions()
            return self._spaces[choice]

    def inspector(self, choice: ModelChoice) -> Inspector:
        """What looks around the edits of a choice; it keeps what the base model says."""
        studio = self.studio(choice)
        with self._lock:
            if choice not in self._inspectors:
                self._inspectors[choice] = Inspector(studio)
            return self._inspectors[choice]

    # ---- files --------------------------------------------------------------------------------------------

    def export_file(self, state: VisitorState, format_name: str) -> str:
        """The path of one file with the visitor's edits. A format that makes a folder is zipped."""
        studio, entry = self.studio(state.choice), get_format(format_name)
        if self.settings.demo and entry.whole_model and state.choice.model != DEFAULT_MODEL:
            raise ValueError(_MERGES_ONE)
        folder = self.new_folder() / f"edited-{format_name}"
        export(studio.backbone, state.session, studio.patch(state.session), format_name, folder)
        single = folder / "delta.safetensors"
        return (
            str(single)
            if single.exists()
            else shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
        )

    def session_file(self, state: VisitorState) -> str:
        """The path of one file with the visitor's session and its history."""
        path = self.new_folder() / "edits-session.zip"
        return str(save_session(state.session, self.studio(state.choice), path))

    def open_session(self, state: VisitorState, file: str) -> VisitorState:
        """The visitor's state with the session of a file, its last edit on show."""
        session = load_session(Path(file), self.studio(state.choice))
        shown = session.edits[-1].request if session.edits else None
        return state._replace(record=None, request=shown).with_session(session)

    def new_folder(self) -> Path:
        """A folder for a file to download; those of old downloads go."""
        for path in Path(self._files.name).iterdir():
            if time.time() - path.stat().st_mtime > KEPT_FILES_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._files.name))
