"""What every experiment works with: one base model, editors trained once and kept, and measurements as plain
rows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..backbone import Backbone
from ..evaluation import Plan, Row, summarise
from ..evaluation.planning import plan_cases
from ..evaluation.run import evaluate_cases, versions
from ..evaluation.scoring import Case
from ..methods import EditMethod, load_method
from ..methods.editor_folder import read_config
from ..methods.hyper_config import HyperConfig
from ..methods.instructedit import InstructEdit
from ..methods.mend import MEND
from ..sources import Source
from ..training.config import RECIPES, STUDIO, STUDIO_NETWORK, MetaConfig
from ..training.meta import MetaTrainer

LAB_TASKS = ("counterfact", "recent", "convsent", "zsre")


def _trained_by(config: MetaConfig) -> type[InstructEdit]:
    """The method that learns from such settings."""
    return InstructEdit if config.instructed else MEND


@dataclass(frozen=True)
class Lab:
    """`n` held-out edits per task, drawn by `seed`; editors of `steps` steps of a `recipe` under `cache`;
    `trainings` seeds where a question asks for several.
    """

    backbone: Backbone
    source: Source
    cache: Path
    n: int = 100
    seed: int = 0
    steps: int = 800
    trainings: int = 3
    shipped: Mapping[str, Path] = field(default_factory=dict)  # finished editors of this base, by method
    recipe: str = "paper"

    def editor(self, training_seed: int = 0, network: HyperConfig | None = None, **changes) -> EditMethod:
        """An editor of the recipe with these changes: from the cache, or trained now (a killed training goes
        on).
        """
        config, own = RECIPES[self.recipe]
        config = replace(config, **{"steps": self.steps} | changes)
        network = network or _trained_by(config).adapted(own)
        return self._load(config, self._trained(config, network, training_seed))

    def studio_editor(self, training_seed: int = 0, **changes) -> EditMethod:
        """An editor of the recipe of the one that ships, with these changes."""
        config = replace(STUDIO, **{"steps": self.steps} | changes)
        network = _trained_by(config).adapted(STUDIO_NETWORK)
        return self._load(config, self._trained(config, network, training_seed))

    def _load(self, config: MetaConfig, folder: Path) -> EditMethod:
        return load_method(_trained_by(config).name, self.backbone, folder)

    def _trained(self, config: MetaConfig, hyper: HyperConfig, training_seed: int) -> Path:
        """The folder of a finished training, whose name tells everything that it depends on."""
        method = _trained_by(config)
        key = json.dumps(
            [asdict(config), hyper.model_dump(), training_seed, self.backbone.fingerprint], sort_keys=True
        )
        folder = self.cache / f"{method.name}-{training_seed}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        if not (folder / "config.json").exists():
            MetaTrainer(self.backbone, self.source, config, hyper, training_seed, method=method).run(folder)
        return folder

    def scoped(self) -> EditMethod:
        """For questions about scopes and stacks: the one that ships, if it was trained for them, else one
        trained here.
        """
        name = InstructEdit.name
        ships = name in self.shipped and read_config(self.shipped[name]).reads_scopes
        return load_method(name, self.backbone, self.shipped[name]) if ships else self.studio_editor()

    def blind(self) -> EditMethod:
        """MEND of the studio's recipe: the same data, and no instruction to see."""
        return self.studio_editor(instructed=False)

    @property
    def blind_title(self) -> str:
        return f"MEND ({self.steps} steps of the same recipe)"

    def finished(self, instructed: bool = True) -> EditMethod:
        """For questions about an editor's use: the one that ships, else one trained here."""
        name = (InstructEdit if instructed else MEND).name
        return (
            load_method(name, self.backbone, self.shipped[name])
            if name in self.shipped
            else self.editor(instructed=instructed)
        )

    def cases(self, tasks: Sequence[str] = LAB_TASKS, prompts: str = "plain") -> dict[str, list[Case]]:
        """The same held-out edits for every variant of every experiment, of the tasks that the source has."""
        names = tuple(task for task in tasks if task in self.source.tasks)
        plan = Plan(self.backbone.name, (), names, self.n, self.seed, prompts)
        return plan_cases(plan, self.backbone, self.source).cases

    def measure(
        self, variant: str, methods: Iterable[EditMethod | None], cases: dict[str, list[Case]]
    ) -> list[dict]:
        """One row per task, metric and score. Several trainings of a method are averaged per case before the
        interval is drawn; each training's own mean stands beside it.
        """
        found = []
        trained = [
            {task: evaluate_cases(self.backbone, method, part) for task, part in cases.items()}
            for method in methods
        ]
        for task, part in cases.items():
            subjects = {case.index: case.record.subject for case in part}
            pooled: list[Row] = [row for run in trained for row in run[task]]
            means = [
                {(s.metric, s.score): s.mean for s in summarise(run[task], subjects, self.seed)}
                for run in trained
            ]
            for s in summarise(pooled, subjects, self.seed):
                each = [m[s.metric, s.score] for m in means if (s.metric, s.score) in m]
                prompts = "prefixed" if part[0].prefixed else "plain"
                found.append(
                    {"variant": variant, "task": task, "prompts": prompts, **asdict(s), "trainings": each}
                )
        return found

    def config(self) -> dict:
        return {
            "model": self.backbone.name,
            "base": self.backbone.fingerprint,
            "n": self.n,
            "seed": self.seed,
            "steps": self.steps,
            "trainings": self.trainings,
            "recipe": self.recipe,
            "shipped": sorted(self.shipped),
            "versions": versions(self.backbone),
        }
