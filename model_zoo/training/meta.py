"""Meta-training of an editor over several tasks at once (InstructEdit, arXiv 2402.16123, with MEND's outer
loss).

The outer loss is in outer.py. Only the hypernetwork and its edit rates learn.
"""

import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..backbone import Backbone
from ..cache import writable_cache
from ..generation import GivenUp
from ..methods import load_method
from ..methods.editor_folder import EditorConfig, read_config
from ..methods.heads import FAST_HEADS
from ..methods.hyper_config import HyperConfig
from ..methods.hypernetwork_method import HypernetworkMethod
from ..methods.instructedit import InstructEdit
from ..processes import together
from ..progress import Progress, no_progress
from ..sources import Source
from ..trunk import KeptTrunk
from . import checkpoint
from .config import MetaConfig
from .drawing import Drawing
from .examples import Sampler
from .fitting import refit
from .following import Finished, Pace, Preparing, Stepped, TrainingEvent, follow
from .held_out import Looks, Watch
from .keys import measure_keys
from .outer import outer_loss
from .rates import find_rates

CHECKPOINT_EVERY = 200
NO_LOOKS = Looks(0)


class MetaTrainer:
    """Trains an editor for a backbone on a source's records; resumable from `folder/checkpoint.*` with the
    same results. `method` is the class that is trained, which brings its network.

    `start` is a finished editor of the same base to go on from; what this network has beyond that one's
    begins at zero, so that step 0 edits as that editor does.

    `looks`: how often held-out edits are looked at, and whether training ends by them; they change nothing of
    what is learned.

    Several processes (processes.py) train one editor: each takes its share of every step's edits, gradients
    are summed, and the first one writes.
    """

    def __init__(
        self,
        backbone: Backbone,
        source: Source,
        config: MetaConfig,
        hyper: HyperConfig | None = None,
        seed: int = 0,
        start: Path | None = None,
        progress: Progress = no_progress,
        method: type[HypernetworkMethod] = InstructEdit,
        looks: Looks = NO_LOOKS,
    ):
        config = _of_method(method, config)
        source = source.with_questions() if config.questions else source
        self.backbone, self.source, self.config, self.seed = backbone, source, config, seed
        self.progress, self.processes = progress, together()
        if self.processes.size > config.edits:
            raise ValueError(
                f"{self.processes.size} processes share the {config.edits} edits of a step, and each needs "
                "one; start fewer, or set more edits (--set edits=N)."
            )
        self.first = backbone.from_top(config.blocks) if config.first is None else config.first
        self.hyper = hyper or method.default_network
        _check_source(source, config, self.hyper)
        self.drawn = Drawing(Sampler(backbone, source, config, seed))
        if not 0 <= self.first < backbone.blocks:
            raise ValueError(
                f"{backbone.name} has {backbone.blocks} blocks, counted from 0; first={self.first} is none "
                "of them."
            )
        torch.manual_seed(seed)
        modules = {path: backbone.shape(path) for path in backbone.linears(self.first, config.blocks)}
        editor_config = EditorConfig(
            method=method.name,
            base_model=backbone.published_name,
            base_revision=backbone.origin.commit if backbone.origin else None,
            base_fingerprint=backbone.fingerprint,
            modules=modules,
            hyper=self.hyper,
            tasks=config.tasks,
            instructed=config.instructed,
            target_end=config.target_end,
            stop=config.stop,
            training={**asdict(config), "seed": seed, "torch": torch.__version__},
        )
        self.editor = method(backbone, editor_config, method.new_network(editor_config, backbone))
        self.start = self._begin_from(start) if start else None
        self.editor.config = editor_config.model_copy(
            update={
                "training": editor_config.training | {"start": self.start, "processes": self.processes.size}
            }
        )
        named = dict(self.editor.network.named_parameters())
        rates = [p for name, p in named.items() if _is_rate(name)]
        others = [p for name, p in named.items() if not _is_rate(name)]
        self.adam = torch.optim.Adam(
            [{"params": others, "lr": config.lr}, {"params": rates, "lr": config.edit_rate_lr}]
        )
        self.peaks = [config.lr, config.edit_rate_lr]
        self.step = 0
        self.watch = Watch(looks)

    def _begin_from(self, folder: Path) -> str:
        """Take over a finished editor's network; its fingerprint."""
        first = load_method(read_config(folder).method, self.backbone, folder)
        if not isinstance(first, HypernetworkMethod):
            raise ValueError(f"The editor in {folder} is no hypernetwork; --start needs one.")
        own, theirs = self.editor.network.state_dict(), first.network.state_dict()
        fits = all(name in own and own[name].shape == tensor.shape for name, tensor in theirs.items())
        if not fits or self.hyper.whitened != first.config.hyper.whitened:
            raise ValueError(
                f"The editor in {folder} cannot be gone on from: its network is "
                f"{first.config.hyper.model_dump()} over {len(first.config.modules)} "
                f"matrices, and {self.hyper.model_dump()} over {len(self.editor.config.modules)} was asked "
                "for. The rank and the matrices must be "
                "the same, and nothing that it has may be missing here (an editor of the studio recipe goes "
                "on with the studio recipe)."
            )
        self.editor.network.load_state_dict(own | theirs)
        return first.fingerprint

    def calibrate(self) -> None:
        """Normalisation statistics, and edit rates to begin with, from edits before step 0."""
        batches = [
            self.editor.capture([e.edit for e in self.drawn.examples(-1 - i).examples])
            for i in range(self.config.calibration)
        ]
        self.editor.network.calibrate([batch.layers for batch in batches])
        if self.config.rates_found:
            find_rates(self.editor, self._first_loss)

    def _first_loss(self) -> float:
        """The outer loss of edits before step 0, each made alone."""
        step = replace(self.drawn.examples(-1 - self.config.calibration), joint=False, wordings=())
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            loss, _ = outer_loss(self.editor, step, self.config)
        return self.processes.sums({"loss": loss.item()})["loss"]

    def prepare(self, fresh: bool = True) -> None:
        """What keys are measured against; a network that has learned keeps what it learned with."""
        measure_keys(self.editor, self.drawn, fresh, self.progress)

    def train_step(self) -> dict[str, float]:
        c = self.config
        scale = min((self.step + 1) / c.warmup, 1.0) * (1 - self.step / c.steps)
        for group, peak in zip(self.adam.param_groups, self.peaks, strict=True):
            group["lr"] = peak * scale
        self.editor.network.train()
        with torch.random.fork_rng():
            # what is hidden of an instruction depends on seed and step alone, too, in every process
            torch.manual_seed(self.seed * c.steps + self.step + self.processes.rank * 2**32)
            loss, parts = outer_loss(self.editor, self.drawn.examples(self.step), c)
        self.editor.network.eval()
        told = self.processes.sums({"loss": loss.item(), **parts})
        if not math.isfinite(told["loss"]):
            raise RuntimeError(
                f"The loss became {told['loss']} at step {self.step}; checkpoints are written every "
                f"{CHECKPOINT_EVERY} steps. "
                "Start again with a lower learning rate."
            )
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.sum_gradients(self.editor.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.editor.network.parameters(), c.clip)
        self.adam.step()
        self.step += 1
        return told | {"gradient_norm": float(norm)}

    def run(self, folder: Path) -> HypernetworkMethod:
        """Train to the end behind a progress bar; the editor, which lies in `folder` then."""
        follow(self.events(folder))
        return self.editor

    def events(self, folder: Path) -> Iterator[TrainingEvent]:
        """Train to the end, step by step, writing checkpoints and, at last, the editor into `folder`. Closed
        or given up before, it leaves a checkpoint.
        """
        with self._trunk() as trunk:
            yield from self._events(folder, trunk)

    @contextmanager
    def _trunk(self) -> Iterator[KeptTrunk | None]:
        """Where rows are drawn again and again, what lies below the edited blocks is computed once."""
        if not self.config.kept_trunk:
            yield None
            return
        rank = self.processes.rank  # each process keeps what it meets
        folder = writable_cache("trunk", *([f"process-{rank}"] if rank else []))
        with closing(KeptTrunk(self.backbone, self.first, folder)) as trunk:
            yield trunk

    def _on(self, trunk: KeptTrunk | None) -> AbstractContextManager:
        """Work on kept states, if they are kept. Nothing is yielded inside."""
        return self.backbone.kept_below(trunk) if trunk else nullcontext()

    @contextmanager
    def kept_trunk(self) -> Iterator[None]:
        """Within this block the rows' states are kept, if the settings say so."""
        with self._trunk() as trunk, self._on(trunk):
            yield

    def _events(self, folder: Path, trunk: KeptTrunk | None) -> Iterator[TrainingEvent]:
        new, first = not self.resume(folder), self.processes.first
        yield Preparing("Measuring the base model's keys…" if new else f"Going on from step {self.step}…")
        with self._on(trunk):
            self.prepare(new and (not self.start or self.config.rewhitened))
            if new and not self.start:
                self.calibrate()
        self._agree(folder)
        self.watch.begin(self.editor, self.source, self.drawn.sampler, self.seed)
        steps = self.config.steps
        try:
            if self.watch.missed(self.step, self.step == steps):
                self.watch.look(self.step)
            pace = Pace(self.step, steps)
            while self.step < steps and not self.watch.tired:
                due = self.watch.due(self.step + 1, self.step + 1 == steps)
                if due:
                    yield Preparing(f"Step {self.step + 1} of {steps}, then held-out edits…")
                with self._on(trunk):
                    parts = self.train_step()
                look = self.watch.look(self.step) if due else None
                if first and (look or self.step % CHECKPOINT_EVERY == 0):
                    self.checkpoint(folder)
                yield Stepped(self.step, steps, parts, pace.left(self.step), look)
        except (GeneratorExit, GivenUp):  # the second in the midst of a look
            if first:
                self.checkpoint(folder)
            raise
        self._finish(folder)
        yield Finished(folder, self.step, steps, self.watch.kept(self.step))

    def _finish(self, folder: Path) -> None:
        """The best weights, if any were kept, fitted and written."""
        if self.watch.best:
            self.editor.network.load_state_dict(self.watch.best)
            patience, kept = self.watch.looks.patience, self.watch.kept(self.step)
            stopped = {"patience": patience, "taken": self.step, "kept": kept}
            training = self.editor.config.training | stopped
            self.editor.config = self.editor.config.model_copy(update={"training": training})
        self.editor.network.eval()
        refit(self.editor, self.config.fits)
        if self.processes.first:
            self.editor.save(folder)
            checkpoint.remove(folder)

    def _agree(self, folder: Path) -> None:
        """All processes begin at one step with the first one's numbers; ValueError where they do not see one
        folder.
        """
        if self.processes.sums({"step": self.step})["step"] != self.step * self.processes.size:
            raise ValueError(
                f"The processes do not find the same checkpoint in {folder}; give a folder that all of "
                "them see."
            )
        self.processes.from_first(self.editor.network.state_dict().values())
        self.processes.from_first(self.editor.covariance[path] for path in sorted(self.editor.covariance))

    # ---- checkpoints ---------------------------------------------------------------------------------------

    def _identity(self) -> dict:
        own = {
            "config": asdict(self.config),
            "hyper": self.hyper.model_dump(),
            "seed": self.seed,
            "start": self.start,
        }
        if self.watch.looks.patience:
            own |= {"looks": asdict(self.watch.looks)}
        return json.loads(json.dumps(own | {"base": self.backbone.fingerprint}))

    def checkpoint(self, folder: Path) -> None:
        """Write everything a resumed run needs."""
        network, adam = self.editor.network.state_dict(), self.adam.state_dict()["state"]
        now = checkpoint.Checkpoint(self.step, network, adam, self.watch.looked, self.watch.best)
        checkpoint.write(folder, now, self._identity())

    def resume(self, folder: Path) -> bool:
        """Continue from a checkpoint in `folder`, if there is one; ValueError when it belongs to another
        configuration.
        """
        found = checkpoint.read(folder, self._identity(), self.backbone.device)
        if found is None:
            return False
        self.editor.network.load_state_dict(found.network)
        self.adam.load_state_dict(self.adam.state_dict() | {"state": found.adam})
        self.step = found.step
        self.watch.looked, self.watch.best = list(found.looks), dict(found.best)
        return True


def _of_method(method: type[HypernetworkMethod], config: MetaConfig) -> MetaConfig:
    """The settings as a method can be trained with: one that reads no instructions is given none."""
    if method.reads_instruction and not config.instructed:
        raise ValueError(
            f"{method.pretty_name} is trained with instructions, and instructed=False leaves them out; "
            "train a method that reads none."
        )
    return replace(config, instructed=method.reads_instruction)


def _check_source(source: Source, config: MetaConfig, hyper: HyperConfig) -> None:
    """ValueError when the source lacks what this training needs."""
    lacking = [task for task in config.tasks if task not in source.tasks]
    if lacking:
        found = ", ".join(source.tasks) or "none"
        raise ValueError(
            f"{source.title} has no records of {', '.join(lacking)} (it has: {found}); choose other --tasks."
        )
    if config.scope_share and not source.has_scopes:
        raise ValueError(
            f"This recipe trains scopes, and {source.title} has no scope cases; use --recipe paper."
        )


def _is_rate(name: str) -> bool:
    """Whether a parameter is an edit rate, a ridge strength or one of the heads that learn as fast."""
    return name.startswith("log_") or name.split(".")[-2] in FAST_HEADS
