"""Studio: one base model with its methods, and the whole life of an edit on it, as typed events and plain
data.

The command line, the page and its API all speak through this; none of them computes.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from . import editors
from .backbone import Backbone
from .catalog import entry_for, load_backbone
from .changes import Effect, Patch, Patches
from .directions import DirectionSpace
from .evaluation import Plan, Results, measuring
from .evaluation.planning import with_subject
from .evaluation.text import agree, follows, typed_small
from .events import EditReport, Event, Probabilities, Proposed, TextSoFar, Verdicts, whole
from .generation import generate, probabilities, stream
from .loading import LoadOptions
from .methods import METHODS, EditMethod, Hyperparameters, check_requests, hyperparameters, load_method
from .methods.editor_folder import check_base, read_config
from .progress import Progress, no_progress, readable
from .records import Record
from .request import EditRequest, instructed
from .scopes import TASK_WORD, get_scope
from .session import Edit, EditSession
from .sources import Source, default_source, get_source, source_known_to
from .tasks import get_task
from .verdicts import Judge

ANSWER_ROOM = 8  # tokens left for an answer behind a prompt that is shown as evidence


class Studio:
    """A backbone and the methods loaded for it. All visitors share it: nothing depends on one of them."""

    def __init__(
        self, backbone: Backbone, name: str, editors: Mapping[str, Path], source: Source | None = None
    ):
        """`editors`: folders of trained editors, by method. `source`: whose facts the base model knows; found
        where not given.
        """
        self.backbone, self.name, self.editors = backbone, name, dict(editors)
        self.source = source or source_known_to(backbone)
        self.judge = Judge(backbone)
        self.progress: Progress = no_progress  # told what methods do while they are loaded
        self.text: tuple[str, ...] = ()  # passages over which methods take their statistics; see Setup
        self._methods: dict[tuple[str, Hyperparameters], EditMethod] = {}
        self._patches: WeakKeyDictionary[EditSession, Patch | None] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        model: str,
        options: LoadOptions | None = None,
        editor: str | Path | None = None,
        progress: Progress = no_progress,
    ) -> "Studio":
        """A studio for a catalogue name, folder or repo id; `editor` (a folder or repo id) takes the place of
        the model's own.

        A wrong editor is refused here, before anybody edits with it.
        """
        backbone, entry = load_backbone(model, options, progress), entry_for(model)
        source = get_source(entry.knows) if entry.knows else None
        if not editor:
            return cls(backbone, model, entry.editors, source)
        progress(f"Fetching the editor {editor}…")

        def report(done: int, size: int) -> None:
            progress(f"Fetching the editor {editor}: {readable(done)} of {readable(size)}")

        folder = editors.resolve(editor, report)
        config = read_config(folder)
        check_base(config, backbone, folder)
        return cls(backbone, model, {config.method: folder}, source)

    # ---- methods -------------------------------------------------------------------------------------------

    def method(self, name: str, hyper: Hyperparameters | None = None) -> EditMethod:
        """A method for this base, loaded once for each choice of its hyperparameters."""
        hyper = hyper or hyperparameters(name)
        with self._lock:
            if (name, hyper) not in self._methods:
                # statistics are taken over facts that the base model knows, where there are any
                known = self.source if self.source.tasks else None
                self._methods[name, hyper] = load_method(
                    name, self.backbone, self.editors.get(name), hyper, known, self.progress, self.text
                )
                self.progress("")
            return self._methods[name, hyper]

    def default_method(self) -> str:
        """The first registered method that there is an editor for, else the first that needs none."""
        able = [m.name for m in METHODS.values() if not m.needs_editor]
        return next((name for name in METHODS if name in self.editors), able[0])

    @property
    def reads_scopes(self) -> bool:
        """Whether the method that edits here was trained on instructions that say how far an edit reaches."""
        editor = self.editors.get(self.default_method())
        return editor is not None and read_config(editor).reads_scopes

    @property
    def reference(self) -> Source:
        """Where reference edits come from: what this model knows, else the default source."""
        return self.source if self.source.tasks else default_source()

    def directions(self, per_task: int | None = None) -> DirectionSpace:
        """The directions of so many reference edits of every task, under the method that edits here by
        default; None: as many as the machine is quick with.
        """
        return DirectionSpace(self.backbone, self.method(self.default_method()), self.reference, per_task)

    # ---- one edit ------------------------------------------------------------------------------------------

    def request(
        self,
        task: str,
        prompt: str,
        target: str,
        instruction: str | None = None,
        scope: str | None = None,
        subject: str | None = None,
        chat: bool = True,
    ) -> EditRequest:
        """A checked request. Without an instruction the task's first wording is used; slots are filled from
        the source. With a `scope` the instruction says how far the edit reaches, and there is no task.
        Without a `subject` it is found. With `chat` a chat model is asked its questions in its template.
        """
        prompt, target, wording = prompt.strip(), target.strip(), (instruction or "").strip()
        if odd := self.source.unwritable(target):
            raise ValueError(
                f"{self.backbone.name} never met {odd[:20]!r} and cannot write it; choose a target in other "
                "letters."
            )
        subject = (subject or "").strip() or self.source.subject(prompt)
        if scope:
            told = wording or get_scope(scope).first_readings[0]
            return EditRequest(prompt, target, TASK_WORD, told, subject, chat)
        spec = get_task(task)
        filled = spec.fill(wording or spec.instructions[0], self.source.slots(prompt, target))
        return EditRequest(prompt, target, task, filled, subject, chat)

    def propose(
        self, request: EditRequest, method: str, strength: float = 1.0, hyper: Hyperparameters | None = None
    ) -> tuple[Edit, float]:
        """The edit as if it were the only one, and the seconds it took. ValueError where the request lacks
        what the method needs.
        """
        hyper = None if hyper == hyperparameters(method) else hyper
        loaded = self.method(method, hyper)
        check_requests(type(loaded), [request])
        start = time.perf_counter()
        (change,) = loaded.propose([request])
        seconds = time.perf_counter() - start
        return Edit(request, method, change, strength, hyperparameters=hyper), seconds

    def patch(self, session: EditSession) -> Patch | None:
        """What the session's edits come to; None when none is on. It is combined once for as long as the
        session is held: of a thousand edits that takes a minute.
        """
        with self._lock:
            if session in self._patches:
                return self._patches[session]
        patch = session.patch(self.method)
        with self._lock:
            self._patches[session] = patch
        return patch

    def effects(self, edit: Edit) -> tuple[Effect, ...]:
        """What an edit does to each matrix, alone and at its strength."""
        return edit.made.effects(self.backbone)

    def contradicted(self, request: EditRequest, session: EditSession) -> tuple[Edit, ...]:
        """The session's other edits that are on and give the same fact another answer: not all can hold."""
        key = self.source.fact_key(request.prompt)
        return tuple(
            edit
            for edit in session.active
            if edit.request != request
            and self.source.fact_key(edit.request.prompt) == key
            and not agree(edit.request.target, request.target)
        )

    # ---- its life ------------------------------------------------------------------------------------------

    def life(
        self,
        request: EditRequest,
        method: str,
        strength: float = 1.0,
        session: EditSession | None = None,
        record: Record | None = None,
        prefixed: bool = False,
        streaming: bool = True,
        hyper: Hyperparameters | None = None,
    ) -> Iterator[Event]:
        """The whole life of an edit: proposed, added to the session, then everything that is shown of it
        there.
        """
        edit, seconds = self.propose(request, method, strength, hyper)
        session = (session or EditSession()).add(edit)
        yield Proposed(edit, session, seconds)
        yield from self.show(request, session, True, record, prefixed, streaming)

    def show(
        self,
        request: EditRequest,
        session: EditSession,
        judged: bool = True,
        record: Record | None = None,
        prefixed: bool = False,
        streaming: bool = True,
        language: str = "",
    ) -> Iterator[Event]:
        """An edit's own prompt under the session's stack: the text as it grows, probabilities and, if
        `judged`, verdicts, of a record that has other languages in this one.

        Without `streaming` the text comes whole, and no thread is started.
        """
        patch, put = self.patch(session), self.put(request.prompt, request, prefixed)
        texts = self.ask(put, patch) if streaming else self.pairs([put], patch)
        before = ""
        for before, after in texts:
            yield TextSoFar(before, after)
        likely = self.target_probability(put, request.target, patch)
        yield replace(likely, known=self.holds(request, before, prefixed))
        if judged:
            yield self.check(request, session, patch, record, prefixed, language)

    def edit(
        self,
        request: EditRequest,
        method: str,
        strength: float = 1.0,
        session: EditSession | None = None,
        ask: Sequence[str] = (),
        prefixed: bool = False,
        record: Record | None = None,
        hyper: Hyperparameters | None = None,
    ) -> tuple[EditReport, EditSession]:
        """An edit's life to its end, and answers to other prompts under it: the report, and the session with
        the edit.
        """
        start = time.perf_counter()
        life = self.life(request, method, strength, session, record, prefixed, streaming=False, hyper=hyper)
        proposed, text, likely, verdicts = whole(life)
        asked = (
            self.pairs([self.put(p, request, prefixed) for p in ask], self.patch(proposed.session))
            if ask
            else []
        )
        report = EditReport(
            model=self.backbone.name,
            method=method,
            task=request.task,
            instruction=request.instruction,
            prompt=request.prompt,
            target=request.target,
            subject=request.subject,
            before=text.before,
            after=text.after,
            held=self.holds(request, text.after, prefixed),
            degenerate=text.degenerate,
            target_probability={"before": likely.before, "after": likely.after},
            known=likely.known,
            generality=verdicts.generality,
            locality=verdicts.locality,
            changed=self.effects(proposed.edit),
            edit_seconds=proposed.seconds,
            seconds=time.perf_counter() - start,
            contradicts=tuple(edit.label for edit in self.contradicted(request, proposed.session)),
            ask=tuple({"prompt": p, "before": b, "after": a} for p, (b, a) in zip(ask, asked, strict=True)),
        )
        return report, proposed.session

    # ---- looking at it -------------------------------------------------------------------------------------

    def ask(self, prompt: str, patch: Patch | None) -> Iterator[tuple[str, str]]:
        """(before, after) as they grow, from one two-row generation: row 0 the base, row 1 the patch."""
        for ((before, after),) in self.asks([prompt], [patch]):
            yield before, after

    def asks(self, prompts: Sequence[str], patches: Patches) -> Iterator[list[tuple[str, str]]]:
        """(before, after) of every prompt as they grow, from one batch: prompt i under patches[i]."""
        rows: list[str] = [prompt for prompt in prompts for _ in range(2)]
        for texts in stream(self.backbone, rows, [seen for patch in patches for seen in (None, patch)]):
            yield list(zip(texts[::2], texts[1::2], strict=True))

    def pairs(self, prompts: Sequence[str], patch: Patch | None) -> list[tuple[str, str]]:
        """(before, after) of every prompt, from one batch."""
        if not prompts:
            return []
        rows: list[str] = [prompt for prompt in prompts for _ in range(2)]
        seen: Patches = [None, patch] * len(prompts)
        texts = generate(self.backbone, rows, seen)
        return list(zip(texts[::2], texts[1::2], strict=True))

    def target_probability(self, prompt: str, target: str, patch: Patch | None) -> Probabilities:
        """The target's probability behind the prompt, before and after."""
        before, after = probabilities(self.backbone, [prompt] * 2, [target] * 2, [None, patch])
        return Probabilities(before, after)

    def check(
        self,
        request: EditRequest,
        session: EditSession,
        patch: Patch | None,
        record: Record | None = None,
        prefixed: bool = False,
        language: str = "",
    ) -> Verdicts:
        """Verdicts on paraphrases and neighbours under the session's edits."""
        edited = [edit.request.prompt for edit in session.active]
        evidence = self.source.evidence(request.prompt, record, edited, language)
        fitting = tuple(p for p in evidence.generality if self.fits(self.put(p, request, prefixed)))
        around = tuple(p for p in evidence.locality if self.fits(self.put(p.prompt, request, prefixed)))
        evidence = replace(evidence, generality=fitting, locality=around)
        target = evidence.target or request.target
        return self.judge.verdicts(
            evidence, target, lambda prompt: self.put(prompt, request, prefixed), patch
        )

    def measure(self, plan: Plan, out: Path | None = None) -> Iterator[tuple[int, int, Results | None]]:
        """(groups done, groups in all, the results once all are done) of an evaluation on this studio."""
        hyper = {name: hyperparameters(name, values) for name, values in plan.hyperparameters.items()}
        yield from measuring(
            plan, self.backbone, self.source, lambda name: self.method(name, hyper.get(name)), out
        )

    def subject_of(self, prompt: str, record: Record | None = None) -> str | None:
        """What is found as the subject of a prompt; a record's own comes first."""
        if record is not None and record.request.prompt == prompt:
            return with_subject(record.request, record.subject, self.source).subject
        return self.source.subject(prompt.strip())

    def holds(self, request: EditRequest, after: str, prefixed: bool = False) -> bool:
        """Whether a text says the edit's target, as evaluation judges it."""
        in_chat = self.backbone.in_chat(self.put(request.prompt, request, prefixed))
        return follows(after, request.target, typed_small(request.prompt), in_chat)

    def put(self, prompt: str, request: EditRequest, prefixed: bool = False) -> str:
        """What is put to the model for a prompt that belongs to an edit."""
        text = instructed(prompt, request.task, request.instruction) if prefixed else prompt
        return self.backbone.asked(text, request.chat)

    def fits(self, prompt: str) -> bool:
        """Whether the model has room for the prompt and an answer."""
        return len(self.backbone.ids(prompt)) < self.backbone.max_length - ANSWER_ROOM
