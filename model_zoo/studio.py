"""Studio: one base model with its methods, and the whole life of an edit on it, returned as plain data.

The command line, the page and its API all speak through this; none of them computes.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import editors
from .atlas.world import World, load_world
from .backbone import Backbone
from .catalog import entry_for, load_backbone
from .delta import Delta, Factors
from .evaluation import Plan, Results, measuring, starts_with, unchanged
from .evidence import Evidence, around, gather
from .generation import generate, stream
from .hub import readable
from .loading import LoadOptions, Say
from .methods import METHODS, EditMethod, load_method
from .methods.editor_folder import check_base, read_config
from .scopes import TASK_WORD, Kind, ScopeProbe, get_scope
from .session import EditSession
from .tasks import Record, get_task
from .tasks.request import EditRequest, instructed


@dataclass(frozen=True)
class Check:
    """One prompt's verdict. `held`: it follows the edit (generality) or stayed as it was (locality)."""

    prompt: str
    before: str
    after: str
    expected: str
    held: bool
    source: str


@dataclass(frozen=True)
class Change:
    """What an edit did to one matrix."""

    module: str
    rank: int
    norm: float  # Frobenius norm of delta W
    relative: float  # norm over the norm of W


@dataclass(frozen=True)
class Reached:
    """One probe near an edit that was made under several instructions: what was said before, and after under each.

    `moved`: it says something else than before. `follows`: it says the edit's target.
    """

    prompt: str
    kind: Kind
    before: str
    after: tuple[str, ...]
    moved: tuple[bool, ...]
    follows: tuple[bool, ...]


@dataclass(frozen=True)
class EditReport:
    """Everything the command line prints as JSON. Texts are continuations only."""

    model: str
    method: str
    task: str
    instruction: str | None
    prompt: str
    target: str
    before: str
    after: str
    target_probability: dict[str, float]
    generality: tuple[Check, ...]
    locality: tuple[Check, ...]
    changed: tuple[Change, ...]
    edit_seconds: float
    seconds: float
    ask: tuple[dict[str, str], ...] = field(default=())

    def to_dict(self) -> dict:
        return asdict(self)


class Studio:
    """A backbone and the methods loaded for it. Shared by all visitors: nothing in it depends on one of them."""

    def __init__(self, backbone: Backbone, name: str, editors: Mapping[str, Path]):
        """`editors`: folders of trained editors, by method."""
        self.backbone, self.name, self.editors = backbone, name, dict(editors)
        self._methods: dict[str, EditMethod] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, model: str, options: LoadOptions | None = None, editor: str | Path | None = None, say: Say = lambda text: None) -> "Studio":
        """A studio for a catalogue name, folder or repo id; `editor` (a folder or repo id) takes the place of the model's own.

        A wrong editor is refused here, before anybody edits with it.
        """
        backbone = load_backbone(model, options, say)
        if editor:
            say(f"Fetching the editor {editor}…")
            folder = editors.resolve(editor, lambda done, size: say(f"Fetching the editor {editor}: {readable(done)} of {readable(size)}"))
            config = read_config(folder)
            check_base(config, backbone, folder)
            return cls(backbone, model, {config.method: folder})
        return cls(backbone, model, entry_for(model).editors)

    @property
    def world(self) -> World | None:
        """The atlas, if the base model was trained on it (its configuration says so)."""
        return load_world() if getattr(self.backbone.model.config, "knows_atlas", False) else None

    def method(self, name: str) -> EditMethod:
        """A method for this base, loaded once."""
        with self._lock:
            if name not in self._methods:
                self._methods[name] = load_method(name, self.backbone, self.editors.get(name))
            return self._methods[name]

    def default_method(self) -> str:
        """The first registered method that can run here."""
        return next(info.name for info in METHODS.values() if info.name in self.editors or not info.needs_editor)

    # ---- one edit --------------------------------------------------------------------------------------------------

    def request(self, task: str, prompt: str, target: str, instruction: str | None = None, scope: str | None = None) -> EditRequest:
        """A checked request. Without an instruction the task's first wording is used; slots are filled from the atlas. With a `scope`
        the instruction says how far the edit reaches, and there is no task."""
        if scope:
            return EditRequest(prompt.strip(), target.strip(), TASK_WORD, (instruction or "").strip() or get_scope(scope).first_readings[0])
        spec = get_task(task)
        wording = instruction if instruction and instruction.strip() else spec.instructions[0]
        return EditRequest(prompt.strip(), target.strip(), task, spec.fill(wording.strip(), self._slots(prompt, target)))

    def _slots(self, prompt: str, target: str) -> dict[str, str]:
        match = self.world.match(prompt) if self.world else None
        if match is None or match.topic is None:
            return {}
        opinions, reply = self.world.opinions, target.strip().rstrip(".")
        voiced = next((stance for stance, pool in opinions.replies.items() if reply in pool), "")
        # an own reply about a known topic is taken to turn the mood around
        return {"topic": match.topic.name, "label": voiced or (opinions.opposite(match.topic.stance) if match.known else "")}

    def propose(self, request: EditRequest, method: str) -> tuple[Delta, float]:
        """The edit's Delta on the base model, and the seconds it took."""
        loaded = self.method(method)
        start = time.perf_counter()
        delta = loaded.propose([request])[0]
        return delta, time.perf_counter() - start

    def factors(self, session: EditSession) -> Factors | None:
        """The session's patch, live; use `to_rows` to say which rows see it. None when no edit is on."""
        patch = session.patch(self.method)
        return patch and Factors.of([patch], [0], self.backbone.device)

    def changes(self, delta: Delta) -> tuple[Change, ...]:
        norms = delta.norms()
        return tuple(
            Change(path, layer.rank, norms[path], norms[path] / self.backbone.weight(path).float().norm().item())
            for path, layer in delta.layers.items()
        )

    # ---- looking at it -----------------------------------------------------------------------------------------------

    def stream_pair(self, prompt: str, factors: Factors | None) -> Iterator[tuple[str, str]]:
        """(before, after) as they grow, from one two-row generation: row 0 the base, row 1 the patch."""
        for texts in stream(self.backbone, [prompt, prompt], factors and factors.to_rows([-1, 0])):
            yield texts[0], texts[1]

    def showing(self, request: EditRequest, session: EditSession, judged: bool, record: Record | None = None) -> Iterator[tuple[str, Any]]:
        """Everything the page shows of an edit under the session's stack, as plain data that can cross a process border:
        ("pair", (before, after)) as it grows, ("chance", {before, after}), and, if `judged`, ("verdicts", (generality, locality))."""
        factors = self.factors(session)
        for pair in self.stream_pair(request.prompt, factors):
            yield "pair", pair
        yield "chance", self.probabilities(request.prompt, request.target, factors)
        if judged:
            yield "verdicts", self.check(request, session, factors, record)

    def measuring(self, plan: Plan) -> Iterator[tuple[int, int, Results | None]]:
        """(groups done, groups in all, the results once all are done) of an evaluation on this studio."""
        yield from measuring(plan, self.backbone, self.world, self.method)

    @property
    def reads_scopes(self) -> bool:
        """Whether the method that edits here was trained on instructions that say how far an edit reaches."""
        editor = self.editors.get(self.default_method())
        return editor is not None and read_config(editor).reads_scopes

    def scoping(self, prompt: str, target: str, instructions: Sequence[str]) -> Iterator[list[Reached]]:
        """The same edit made once under each instruction, alone; the probes around it as they are asked, nearest first."""
        requests = [EditRequest(prompt.strip(), target.strip(), TASK_WORD, (instruction or "").strip() or None) for instruction in instructions]
        deltas = self.method(self.default_method()).propose(requests)
        probes = [probe for probe in around(requests[0].prompt, target, self.world).probes if self._fits(probe.prompt)]
        edits, found = [-1, *range(len(deltas))], []
        for kind in dict.fromkeys(probe.kind for probe in probes):
            asked = [probe for probe in probes if probe.kind == kind]
            factors = Factors.of(deltas, edits * len(asked), self.backbone.device)
            said = iter(generate(self.backbone, [probe.prompt for probe in asked for _ in edits], factors))
            found += [_reached(probe, target, *(next(said) for _ in edits)) for probe in asked]
            yield list(found)

    def asking(self, prompt: str, session: EditSession) -> Iterator[tuple[str, str]]:
        """(before, after) of an own question as they grow."""
        yield from self.stream_pair(prompt, self.factors(session))

    def pairs(self, prompts: Sequence[str], factors: Factors | None) -> list[tuple[str, str]]:
        """(before, after) of every prompt, from one batch."""
        rows = [p for p in prompts for _ in range(2)]
        texts = generate(self.backbone, rows, factors and factors.to_rows([-1, 0] * len(prompts)))
        return list(zip(texts[::2], texts[1::2], strict=True))

    def probabilities(self, prompt: str, target: str, factors: Factors | None) -> dict[str, float]:
        """The target's probability behind the prompt, before and after."""
        rows = factors and factors.to_rows([-1, 0])
        before, after = self.backbone.target_probability([prompt] * 2, [target] * 2, rows)
        return {"before": before, "after": after}

    def check(self, request: EditRequest, session: EditSession, factors: Factors | None, record: Record | None = None, prefixed: bool = False):
        """Verdicts on paraphrases and neighbours under the session's edits: (generality checks, locality checks)."""
        evidence = gather(request.prompt, self.world, record, [edit.request.prompt for edit in session.active])
        fitting = tuple(p for p in evidence.generality if self._fits(self._shown(p, request, prefixed)))
        evidence = replace(evidence, generality=fitting)
        prompts = [*evidence.generality, *(probe.prompt for probe in evidence.locality)]
        pairs = self.pairs([self._shown(p, request, prefixed) for p in prompts], factors)
        return _verdicts(evidence, request.target, pairs)

    def _fits(self, prompt: str) -> bool:
        """Whether the model has room for the prompt and an answer."""
        return len(self.backbone.tokenizer(prompt)["input_ids"]) < self.backbone.max_length - 8

    @staticmethod
    def _shown(prompt: str, request: EditRequest, prefixed: bool) -> str:
        return instructed(prompt, request.task, request.instruction) if prefixed else prompt

    def edit(
        self, request: EditRequest, method: str, strength: float = 1.0, session: EditSession | None = None, ask: Sequence[str] = (),
        prefixed: bool = False, record: Record | None = None,
    ) -> tuple[EditReport, EditSession]:  # fmt: skip
        """Propose an edit, add it to the session, and report everything about it under the session's stack."""
        start = time.perf_counter()
        delta, edit_seconds = self.propose(request, method)
        session = (session or EditSession()).add(delta, strength)
        factors = self.factors(session)
        shown = self._shown(request.prompt, request, prefixed)
        (before, after), *asked = self.pairs([shown, *(self._shown(p, request, prefixed) for p in ask)], factors)
        generality, locality = self.check(request, session, factors, record, prefixed)
        report = EditReport(
            model=self.backbone.name, method=method, task=request.task, instruction=request.instruction,
            prompt=request.prompt, target=request.target, before=before, after=after,
            target_probability=self.probabilities(shown, request.target, factors),
            generality=generality, locality=locality, changed=self.changes(delta.scaled(strength)), edit_seconds=edit_seconds,
            seconds=time.perf_counter() - start,
            ask=tuple({"prompt": p, "before": b, "after": a} for p, (b, a) in zip(ask, asked, strict=True)),
        )  # fmt: skip
        return report, session


def _verdicts(evidence: Evidence, target: str, pairs: list[tuple[str, str]]) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    split = len(evidence.generality)
    generality = tuple(
        Check(prompt, before, after, target, starts_with(after, target), evidence.generality_source)
        for prompt, (before, after) in zip(evidence.generality, pairs[:split], strict=True)
    )
    locality = tuple(
        Check(probe.prompt, before, after, probe.answer or before, unchanged(before, after, probe.answer), evidence.locality_source)
        for probe, (before, after) in zip(evidence.locality, pairs[split:], strict=True)
    )
    return generality, locality


def _reached(probe: ScopeProbe, target: str, before: str, *after: str) -> Reached:
    moved = tuple(not unchanged(before, text, probe.answer) for text in after)
    return Reached(probe.prompt, probe.kind, before, after, moved, tuple(starts_with(text, target.strip()) for text in after))
