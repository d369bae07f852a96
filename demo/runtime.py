"""What all visitors share: loaded models, work on the GPU, files to download."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from model_zoo import editors, hub
from model_zoo.catalog import DEFAULT_MODEL
from model_zoo.comparing import Compared, comparing, comparing_scopes
from model_zoo.evaluation import Case, Plan
from model_zoo.events import Event, Reached
from model_zoo.export import export, get_format
from model_zoo.inspecting import Finding
from model_zoo.many import AfterAll, Order, SoFar, applying
from model_zoo.methods import Hyperparameters
from model_zoo.records import Record
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession
from model_zoo.session_files import load_session, save_session
from model_zoo.training.following import TrainingEvent
from model_zoo.training.order import training

from .settings import Settings
from .studios import Studios
from .trainings import STEPS_SECONDS, Wanted, alone, folder_for, ordered, together_for
from .turns import Works, gpu_work, on_gpu, shared_gpu_work
from .visitor import ModelChoice, VisitorState

MOST_ROWS = 10_000  # of a visitor's file are read
KEPT_FILES_SECONDS = 600  # by then Gradio has long copied a download

_MERGES_ONE = (
    "This public demo merges the small embedded model only; take the LoRA adapter, "
    "or run the program yourself."
)


class Question(NamedTuple):
    """What a visitor asks under the edits of a session; with `chat`, a chat model in its template."""

    prompt: str
    session: EditSession
    chat: bool


class Runtime(Studios, Works):
    """Shared by all visitors. It holds nothing that belongs to one of them."""

    def __init__(self, settings: Settings, on_gpu: Callable[[Callable], Callable] = on_gpu):
        Studios.__init__(self, settings)
        Works.__init__(self, on_gpu)
        self._training = threading.Lock()
        self._files = tempfile.TemporaryDirectory(prefix="instructedit-")

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
        language: str = "",
        streaming: bool = True,
    ) -> Iterator[Event]:
        """An edit's own prompt under a session: text so far, probabilities and, if `judged`, verdicts."""
        shown = (request, session, judged, record)
        yield from self.studio(choice).show(*shown, language=language, streaming=streaming)

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

    def _permit_training(self) -> None:
        if self.settings.demo:
            raise ValueError("This public demo trains no editors; run the program yourself to train one.")

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
