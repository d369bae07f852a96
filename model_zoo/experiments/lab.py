"""What every experiment works with: one base model, editors trained once and kept, and measurements as plain
rows.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..backbone import Backbone
from ..evaluation import Plan, Row, summarise
from ..evaluation.planning import plan_cases
from ..evaluation.run import evaluate_cases, versions
from ..evaluation.scoring import Case
from ..methods import EditMethod, load_method
from ..methods.editor_folder import CONFIG_FILE, read_config
from ..methods.hyper_config import HyperConfig
from ..methods.hypernetwork_method import HypernetworkMethod
from ..methods.instructedit import InstructEdit
from ..methods.mend import MEND
from ..sources import Source, source_known_to
from ..training.config import RECIPES, STUDIO, STUDIO_NETWORK, MetaConfig, changed
from ..training.meta import MetaTrainer

LAB_TASKS = ("counterfact", "recent", "convsent", "zsre")


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
    settings: Mapping[str, str] = field(default_factory=dict)  # other values of the recipe, as typed
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of the source, by option

    def editor(
        self,
        training_seed: int = 0,
        network: HyperConfig | None = None,
        method: type[HypernetworkMethod] = InstructEdit,
        **changes,
    ) -> EditMethod:
        """An editor of the recipe with these changes: from the cache, or trained now (a killed training goes
        on).
        """
        if told := {"steps", "instructed"} & self.settings.keys():
            raise ValueError(
                f"An experiment itself says {' and '.join(sorted(told))} of its editors; leave that out of "
                "the settings (steps have an option of their own: --steps)."
            )
        config, own = changed(*RECIPES[self.recipe], self.settings)
        return self._trained(method, config, network or method.adapted(own), training_seed, changes)

    def studio_editor(
        self, training_seed: int = 0, method: type[HypernetworkMethod] = InstructEdit, **changes
    ) -> EditMethod:
        """An editor of the recipe of the one that ships, with these changes."""
        return self._trained(method, STUDIO, method.adapted(STUDIO_NETWORK), training_seed, changes)

    def _trained(
        self,
        method: type[HypernetworkMethod],
        config: MetaConfig,
        hyper: HyperConfig,
        seed: int,
        changes: dict,
    ) -> EditMethod:
        """A finished training's editor, whose folder's name tells everything that it depends on but the
        records.
        """
        config = replace(config, **{"steps": self.steps, "instructed": method.reads_instruction} | changes)
        key = json.dumps(
            [asdict(config), hyper.model_dump(), seed, self.backbone.fingerprint], sort_keys=True
        )
        folder = self.cache / f"{method.name}-{seed}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        if not (folder / CONFIG_FILE).exists():
            MetaTrainer(self.backbone, self.source, config, hyper, seed, method=method).run(folder)
        return load_method(method.name, self.backbone, folder)

    def scoped(self) -> EditMethod:
        """For questions about scopes and stacks: the one that ships, if it was trained for them, else one
        trained here.
        """
        name = InstructEdit.name
        ships = name in self.shipped and read_config(self.shipped[name]).reads_scopes
        return load_method(name, self.backbone, self.shipped[name]) if ships else self.studio_editor()

    def blind(self) -> EditMethod:
        """MEND of the studio's recipe: the same data, and no instruction to see."""
        return self.studio_editor(method=MEND)

    @property
    def blind_title(self) -> str:
        return f"MEND ({self.steps} steps of the same recipe)"

    def finished(self, method: type[EditMethod] = InstructEdit) -> EditMethod:
        """For questions about a method's use: with the editor that ships, else with one trained here, if it
        needs any.
        """
        if method.name not in self.shipped and issubclass(method, HypernetworkMethod):
            return self.editor(method=method)
        known = source_known_to(self.backbone)  # of whose facts some take statistics
        own = known if known.tasks else None
        return load_method(method.name, self.backbone, self.shipped.get(method.name), source=own)

    def cases(self, tasks: Sequence[str] = LAB_TASKS) -> dict[str, list[Case]]:
        """The same held-out edits for every variant of every experiment, of the tasks that the source has."""
        names = tuple(task for task in tasks if task in self.source.tasks)
        plan = Plan(self.backbone.name, (), names, self.n, self.seed)
        return plan_cases(plan, self.backbone, self.source).cases

    def measure(
        self, variant: str, methods: Iterable[EditMethod | None], cases: dict[str, list[Case]]
    ) -> list[dict]:
        """One row per task, metric and score. Several trainings of a method are averaged per case before the
        interval is drawn; each training's own mean stands beside it.
        """
        found = []
        trained = self.measured(methods, cases)
        for task, part in cases.items():
            subjects = {case.index: case.record.subject for case in part}
            pooled: list[Row] = [row for run in trained for row in run[task]]
            means = [
                {(s.metric, s.score): s.mean for s in summarise(run[task], subjects, self.seed)}
                for run in trained
            ]
            for s in summarise(pooled, subjects, self.seed):
                each = [m[s.metric, s.score] for m in means if (s.metric, s.score) in m]
                found.append({"variant": variant, "task": task, **asdict(s), "trainings": each})
        return found

    def measured(
        self, methods: Iterable[EditMethod | None], cases: Mapping[str, Sequence[Case]]
    ) -> list[dict[str, list[Row]]]:
        """Rows by task of each training."""
        return [{task: self.rows(method, part) for task, part in cases.items()} for method in methods]

    def rows(self, method: EditMethod | None, cases: Sequence[Case]) -> list[Row]:
        """Rows of cases under one method. They are kept beside the editors, in `measured`, so that a study
        that was killed goes on; whoever changes how edits are scored deletes them.
        """
        base = [self.backbone.fingerprint, str(self.backbone.model.dtype), self.backbone.device.type]
        told = [method and method.name, method and method.fingerprint, *base, list(cases)]
        digest = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
        path = self.cache / "measured" / f"{digest}.json"
        if path.exists():
            return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        rows = evaluate_cases(self.backbone, method, cases)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
        part.replace(path)
        return rows

    def config(self) -> dict:
        return {
            "model": self.backbone.name,
            "base": self.backbone.fingerprint,
            "n": self.n,
            "seed": self.seed,
            "steps": self.steps,
            "trainings": self.trainings,
            "recipe": self.recipe,
            "settings": dict(self.settings),
            "files": dict(self.files),
            "shipped": sorted(self.shipped),
            "versions": versions(self.backbone),
        }
