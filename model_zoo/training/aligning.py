"""Training a base model's adapter to answer by edits that stand before the prompt (LTE, arXiv 2402.11905; the
counterfactual model of SERAC, arXiv 2206.06520).

    L = NLL(target | edits, prompt in scope) + c_stay KL(base(. | prompt) || adapted(. | edits, prompt))
the second over prompts that none of the edits is about, along what the base goes on with; only where a method
asks for it. Only the adapter learns. It takes minutes, so there are no checkpoints.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from ..backbone import Backbone
from ..changes import Delta, Factors, LayerDelta, LayerFactors
from ..generation import generate
from ..joining import Joined, ended
from ..methods import load_method
from ..methods.editor_folder import EditorConfig, read_config
from ..methods.hyper_config import HyperConfig
from ..methods.reader import Reader
from ..sources import Source
from .aligning_config import AligningConfig
from .behind_edits import BehindEdits, Example
from .following import Finished, Pace, Preparing, Stepped, TrainingEvent, follow

AHEAD = 25  # steps whose prompts the base goes on with at once
CONTINUED = 64  # prompts in one batch


@dataclass(frozen=True)
class Begun:
    """The factors (A, B) by path that training begins with, and the editor that they are of, if any."""

    fingerprint: str | None
    factors: dict[str, tuple[Tensor, Tensor]]


class AligningTrainer:
    """Trains a method's adapter for a backbone on a source's records; the same seed gives the same editor.

    `start` is a finished editor of the same base, of this method or another that reads edits, whose adapter
    is gone on from.
    """

    def __init__(
        self,
        method: type[Reader],
        backbone: Backbone,
        source: Source,
        config: AligningConfig | None = None,
        seed: int = 0,
        start: Path | None = None,
    ):
        self.method, self.backbone, self.seed = method, backbone, seed
        self.config = c = config or AligningConfig()
        self.drawn = BehindEdits(method, backbone, source, c, seed)
        self.paths = backbone.last_blocks(c.blocks or backbone.blocks)
        begun = self._begun(start) if start else Begun(None, self._fresh())
        self.start = begun.fingerprint
        self.factors = {
            path: tuple(factor[None].to(backbone.device).requires_grad_() for factor in pair)
            for path, pair in begun.factors.items()
        }
        self.adam = torch.optim.Adam([factor for pair in self.factors.values() for factor in pair], lr=c.lr)
        self.step = 0
        self._ahead: dict[int, list[Example]] = {}
        self._continued: dict[str, str] = {}

    def _fresh(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A random and B zero, as in LoRA (arXiv 2106.09685): A [r, d_in] and B [d_out, r] by path."""
        random_, factors = torch.Generator().manual_seed(self.seed), {}
        for path in self.paths:
            d_out, d_in = self.backbone.shape(path)
            a = torch.empty(self.config.rank, d_in).uniform_(-1, 1, generator=random_) / math.sqrt(d_in)
            factors[path] = (a, torch.zeros(d_out, self.config.rank))
        return factors

    def _begun(self, folder: Path) -> "Begun":
        """The fingerprint and the factors of a finished editor."""
        first = load_method(read_config(folder).method, self.backbone, folder)
        rank = self.config.rank
        if (
            not isinstance(first, Reader)
            or first.adapter.rank != rank
            or set(first.adapter.layers) != set(self.paths)
        ):
            raise ValueError(
                f"The editor in {folder} cannot be gone on from: an adapter of rank {rank} on "
                f"{len(self.paths)} matrices is needed, of lte or serac."
            )
        factors = {path: layer.factors for path, layer in first.adapter.layers.items()}
        return Begun(
            first.fingerprint, {path: (a.clone(), b / self._scale) for path, (a, b) in factors.items()}
        )

    @property
    def _scale(self) -> float:
        return self.config.alpha / self.config.rank

    def _continue(self, examples: Iterable[Example]) -> None:
        """Have the base go on with the prompts out of scope that it has not gone on with yet."""
        prompts = {example.put for example in examples if example.target is None}
        new = sorted(prompts - self._continued.keys(), key=lambda prompt: (len(prompt), prompt))
        for i in range(0, len(new), CONTINUED):
            part = new[i : i + CONTINUED]
            texts = generate(self.backbone, part, max_new_tokens=self.config.goes_on)
            self._continued |= dict(zip(part, texts, strict=True))

    def _said(self, prompt: str, target: str) -> Joined:
        row = self.backbone.join(prompt, ended(target, "."))
        return self.backbone.stopped(row) if self.config.stop else row

    def _went_on(self, prompt: str, example: Example) -> Joined:
        """The prompt with what the base goes on with behind the bare one."""
        text = self._continued[example.put]
        return self.backbone.join(prompt, text) if text else self.backbone.silent(prompt)

    # ---- learning ------------------------------------------------------------------------------------------

    def loss(self, examples: Sequence[Example]) -> tuple[Tensor, dict[str, float]]:
        """The loss over a step's prompts and its two parts."""
        follow = [self._said(e.before, e.target) for e in examples if e.target is not None]
        pairs = [(self._went_on(e.put, e), self._went_on(e.before, e)) for e in examples if e.target is None]
        # tokens at the boundary may differ behind edits
        stay = [(bare, row) for bare, row in pairs if bare.ids[bare.start :] == row.ids[row.start :]]
        rows = [*follow, *(row for _, row in stay)]
        batch = self.backbone.batch(rows)
        logits, place = self.backbone.target_logits(batch, self._live(len(rows))), batch.target_rows
        said = place < len(follow)
        edit = _by_row(cross_entropy(logits[said], batch.targets[said], reduction="none"), place[said])
        if not stay:
            return edit, {"edit": edit.item()}
        with torch.no_grad():
            base = self.backbone.target_logits(self.backbone.batch([bare for bare, _ in stay]))
        divergence = kl_div(
            logits[~said].log_softmax(-1), base.log_softmax(-1), log_target=True, reduction="none"
        )
        local = _by_row(divergence.sum(-1), place[~said] - len(follow))
        return edit + self.config.c_stay * local, {"edit": edit.item(), "stay": local.item()}

    def _live(self, rows: int) -> Factors:
        """The adapter as it is now, for all rows."""
        layers = {path: LayerFactors(A=a, B=self._scale * b) for path, (a, b) in self.factors.items()}
        return Factors(layers, torch.zeros(rows, dtype=torch.long))

    def train_step(self) -> dict[str, float]:
        c = self.config
        if self.step % AHEAD == 0:
            steps = range(self.step, min(self.step + AHEAD, c.steps))
            self._ahead = {step: self.drawn.examples(step) for step in steps}
            self._continue(e for examples in self._ahead.values() for e in examples)
        for group in self.adam.param_groups:
            group["lr"] = c.lr * min((self.step + 1) / c.warmup, 1.0) * (1 - self.step / c.steps)
        loss, parts = self.loss(self._ahead.pop(self.step))
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"The loss became {loss.item()} at step {self.step}; train with a lower rate (--set lr=...)."
            )
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([f for pair in self.factors.values() for f in pair], c.clip)
        self.adam.step()
        self.step += 1
        return {"loss": loss.item(), **parts}

    def seconds(self, n: int = 3) -> float:
        """Mean seconds of n steps, measured without learning of them."""
        steps = [self.drawn.examples(step) for step in range(n + 1)]
        self._continue(e for examples in steps for e in examples)
        for i, examples in enumerate(steps):
            if i == 1:  # the first warms up
                start = time.perf_counter()
            self.loss(examples)[0].backward()
        self.adam.zero_grad(set_to_none=True)
        return (time.perf_counter() - start) / n

    def run(self, folder: Path) -> Reader:
        """Train to the end behind a progress bar; the editor, which lies in `folder` then."""
        follow(self.events(folder))
        return cast(Reader, load_method(self.method.name, self.backbone, folder))

    def events(self, folder: Path) -> Iterator[TrainingEvent]:
        """Train to the end, step by step, and write the editor into `folder`."""
        steps, pace = self.config.steps, Pace(self.step, self.config.steps)
        while self.step < steps:
            parts = self.train_step()
            yield Stepped(self.step, steps, parts, pace.left(self.step))
        yield Preparing("Learning what edits are about…")
        editor = self.editor()
        editor.learn_scope(self.drawn.pairs)
        editor.save(folder)
        yield Finished(folder, self.step, steps, self.step)

    def editor(self) -> Reader:
        """The adapter as it is now, in the numbers that its file holds."""
        c, backbone = self.config, self.backbone
        layers = {
            path: LayerDelta(A=a[0].detach().half().float(), B=(self._scale * b[0].detach()).half().float())
            for path, (a, b) in self.factors.items()
        }
        config = EditorConfig(
            method=self.method.name,
            instructed=False,
            base_model=backbone.published_name,
            base_revision=backbone.origin.commit if backbone.origin else None,
            base_fingerprint=backbone.fingerprint,
            modules={path: backbone.shape(path) for path in self.paths},
            hyper=HyperConfig(rank=c.rank),
            tasks=c.tasks,
            target_end=".",
            stop=c.stop,
            training={**asdict(c), "seed": self.seed, "start": self.start, "torch": torch.__version__},
        )
        return self.method(backbone, self.method.Hyperparameters(), config, Delta(layers))


def _by_row(values: Tensor, rows: Tensor) -> Tensor:
    """The mean over rows of the means of their tokens, of values [N] in rows [N]."""
    counts = rows.bincount()
    return (values / counts[rows]).sum() / (counts > 0).sum()
