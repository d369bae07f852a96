"""Editing-gradient directions: where one edit lies among others (InstructEdit, arXiv 2402.16123).

A direction is one edit's delta W, at one matrix or over all edited ones, scaled to unit length. Inner
products come from the factors, or from a block of the matrices' rows at a time: they never stand whole.
"""

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import torch
from sklearn.decomposition import KernelPCA
from sklearn.metrics import silhouette_score

from .backbone import Backbone
from .changes import Delta, LayerDelta
from .methods import EditMethod
from .methods.capture import keep_tokens, prefix_mask, request_row
from .records import Record
from .request import EditRequest
from .sources import Source
from .tasks import TASKS

View = Literal["gradient", "update"]
Position = tuple[float, float, float]  # on the first three components
ALL = "all edited matrices"
BATCH = 16
BLOCK = 2**24  # numbers of the deltas that stand at once, 64 MiB
REFERENCES, FEW_REFERENCES = 40, 10  # edits of every task; the few are for
LARGE = 5e7  # models of more weights on a CPU
GRADIENT_BLOCKS = 3  # without an editor: gradients of the MLPs of the last blocks


@dataclass(frozen=True)
class Point:
    """One reference edit on the map: principal components (PC 1, PC 2, PC 3) and the record it stands for."""

    position: Position
    task: str
    record: Record
    request: EditRequest


@dataclass(frozen=True)
class DirectionMap:
    """The reference edits in principal components, with how well the tasks separate.

    `explained`: share of the centred variance per component. Silhouettes are in [-1, 1]: in the full space of
    directions and in the first two components.
    """

    view: View
    instructed: bool
    module: str
    points: tuple[Point, ...]
    explained: tuple[float, float, float]
    silhouette_full: float
    silhouette_plane: float


def _products(layers: Sequence[LayerDelta]) -> np.ndarray:
    """Frobenius inner products [n, n] of n deltas of one matrix, by blocks so that memory stays bounded: from
    the factors, or from the deltas themselves where that is less work.
    """
    factors = [layer.factors for layer in layers]
    n, ranks = len(factors), [len(a) for a, _ in factors]
    d_in, d_out, rows = factors[0][0].shape[1], factors[0][1].shape[0], sum(ranks)
    total = np.zeros((n, n))
    if d_in * d_out * (rows + n * n) < rows * rows * (d_in + d_out):
        for part in torch.arange(d_out).split(max(1, BLOCK // (n * d_in))):
            block = torch.stack([(b[part] @ a).flatten() for a, b in factors])
            total += (block @ block.T).cpu().double().numpy()
        return total
    for i, layer in enumerate(layers):
        total[i, i:] = _cross(layer, layers[i:])
    return np.triu(total) + np.triu(total, 1).T


def _cross(layer: LayerDelta, others: Sequence[LayerDelta]) -> np.ndarray:
    """Frobenius inner products [n] of one delta with n others of the same matrix, from the factors."""
    (own_a, own_b), factors = layer.factors, [other.factors for other in others]
    along = torch.cat([a for a, _ in factors]) @ own_a.T
    products = along * (torch.cat([b.T for _, b in factors]) @ own_b)
    ranks = [len(a) for a, _ in factors]
    return np.array([float(rows.sum()) for rows in products.double().split(ranks)])


class DirectionSpace:
    """Reference edits of all tasks and their directions; users' edits are projected onto their components,
    never refitted.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: EditMethod,
        source: Source,
        per_task: int | None = None,
        seed: int = 0,
    ):
        """`per_task`: reference edits of every task; None: as many as the machine is quick with. A method
        whose edits have no directions of their own has the gradient view alone.

        ValueError when the source has records of no task.
        """
        self.backbone, self.method = backbone, method
        few = backbone.device.type == "cpu" and backbone.parameters > LARGE
        per_task = per_task or (FEW_REFERENCES if few else REFERENCES)
        self.views: tuple[View, ...] = ("update", "gradient") if method.has_directions else ("gradient",)
        tasks = [task for task in TASKS.values() if task.name in source.tasks]
        if not tasks:
            raise ValueError(f"A map of directions needs reference edits, and {source.title} has no records.")
        self.records = [
            (task, record)
            for task in tasks
            for record in source.records(
                task.name, "test", per_task, random.Random(f"directions {task.name} {seed}")
            )
        ]
        self._deltas: dict[tuple[View, bool], list[Delta]] = {}
        self._grams: dict[tuple[View, bool], dict[str, np.ndarray]] = {}
        self._fits: dict[tuple[View, bool, str], KernelPCA] = {}

    @functools.cached_property
    def modules(self) -> list[str]:
        """What a direction can be taken over: all edited matrices, or one of them."""
        if "update" in self.views:
            return [ALL, *self.directions(self.requests(True)[:1], "update")[0].layers]
        return [ALL, *self.backbone.last_blocks(GRADIENT_BLOCKS)]

    def requests(self, instructed: bool) -> list[EditRequest]:
        """The reference edits; instructed ones carry their task's held-out wording."""
        made = (task.instruct(record, task.held_out_instruction) for task, record in self.records)
        return [request if instructed else request.plain() for request in made]

    def directions(
        self, requests: Sequence[EditRequest], view: View, prefix_rows: bool = True
    ) -> list[Delta]:
        """Unscaled directions: the editor's updates, or the raw (descending) gradients of the same matrices.

        `prefix_rows=False` leaves out the rows that stand on the instruction's tokens.
        """
        if view == "update":
            parts = [requests[i : i + BATCH] for i in range(0, len(requests), BATCH)]
            return [delta for part in parts for delta in self.method.directions(part, prefix_rows)]
        made = []
        for i in range(0, len(requests), BATCH):
            made += self._gradients(requests[i : i + BATCH], prefix_rows)
        return made

    def _gradients(self, requests: Sequence[EditRequest], prefix_rows: bool) -> list[Delta]:
        """The raw (descending) gradient of each request as factors."""
        paths = self.modules[1:]
        rows = [request_row(self.backbone, request) for request in requests]
        inputs, grads, real = self.backbone.capture(rows, paths)
        if not prefix_rows:
            real = real & ~prefix_mask(rows, real.shape[1]).to(real.device)
        captured = {path: keep_tokens(inputs[path], grads[path], real) for path in paths}

        def gradient(i: int) -> Delta:
            kept = {path: part.kept[i] for path, part in captured.items()}
            return Delta(
                {
                    p: LayerDelta(A=part.u[i][kept[p]], B=-part.delta[i][kept[p]].T)
                    for p, part in captured.items()
                }
            )

        return [gradient(i) for i in range(len(rows))]

    def steps(self, view: View, instructed: bool) -> Iterator[float]:
        """Make what a map is drawn from, a batch of reference edits or the products of one matrix a step;
        yields the share of the edits that is made. Whoever comes later goes on where another stands.
        """
        requests, key = self.requests(instructed), (view, instructed)
        deltas, grams = self._deltas.setdefault(key, []), self._grams.setdefault(key, {})
        while len(deltas) < len(requests):
            deltas += self.directions(requests[len(deltas) : len(deltas) + BATCH], view)
            yield len(deltas) / len(requests)
        for path in deltas[0].layers:
            if path not in grams:
                grams[path] = _products([delta.layers[path] for delta in deltas])
                yield 1.0

    def _gram(self, view: View, instructed: bool, module: str) -> np.ndarray:
        for _ in self.steps(view, instructed):
            pass
        grams = self._grams[view, instructed]
        return _sum(grams.values()) if module == ALL else grams[module]

    def _fit(self, view: View, instructed: bool, module: str) -> tuple[KernelPCA, np.ndarray]:
        cosine = _cosines(self._gram(view, instructed, module))
        key = (view, instructed, module)
        if key not in self._fits:
            self._fits[key] = KernelPCA(n_components=3, kernel="precomputed", eigen_solver="dense").fit(
                cosine
            )
        return self._fits[key], cosine

    def map(self, view: View = "update", instructed: bool = True, module: str = ALL) -> DirectionMap:
        """PCA of the centred Gram matrix of unit directions, and the separation scores."""
        pca, cosine = self._fit(view, instructed, module)
        positions = pca.transform(cosine)
        full, plane, total = self._scores(cosine, positions)
        points = tuple(
            Point(_position(position), task.name, record, request)
            for position, (task, record), request in zip(
                positions, self.records, self.requests(instructed), strict=True
            )
        )
        explained = _position(value / total for value in pca.eigenvalues_[:3])
        return DirectionMap(view, instructed, module, points, explained, full, plane)

    def separation(
        self, requests: Sequence[EditRequest], view: View, prefix_rows: bool = True
    ) -> dict[str, float]:
        """How well the reference tasks separate when their edits are these, in the records' order."""
        deltas = self.directions(requests, view, prefix_rows)
        cosine = _cosines(_sum(_products([d.layers[path] for d in deltas]) for path in deltas[0].layers))
        pca = KernelPCA(n_components=2, kernel="precomputed", eigen_solver="dense").fit(cosine)
        full, plane, total = self._scores(cosine, pca.transform(cosine))
        return {
            "silhouette_full": full,
            "silhouette_plane": plane,
            "explained_two": float(pca.eigenvalues_[:2].sum() / total),
        }

    def _scores(self, cosine: np.ndarray, positions: np.ndarray) -> tuple[float, float, float]:
        """(silhouette in the full space, in the first two components, total centred variance)."""
        n, labels = len(cosine), [task.name for task, _ in self.records]
        centring = np.eye(n) - 1 / n
        distances = np.sqrt(np.clip(2 - 2 * cosine, 0, None))
        np.fill_diagonal(distances, 0)
        full = silhouette_score(distances, labels, metric="precomputed")
        return (
            float(full),
            float(silhouette_score(positions[:, :2], labels)),
            float(np.trace(centring @ cosine @ centring)),
        )

    def project(self, request: EditRequest, view: View, instructed: bool, module: str = ALL) -> Position:
        """Where one more edit falls on the map of the reference edits."""
        pca, _ = self._fit(view, instructed, module)
        return _position(pca.transform(self.cosines(request, view, instructed, module)[None])[0])

    def cosines(self, request: EditRequest, view: View, instructed: bool, module: str = ALL) -> np.ndarray:
        """[n]: how far one more edit's direction agrees with that of each reference edit, in [-1, 1]."""
        request = request if instructed else replace(request, instruction=None)
        delta = self.directions([request], view)[0]
        norms = np.sqrt(np.diag(self._gram(view, instructed, module)))
        reference = self._deltas[view, instructed]
        paths = list(reference[0].layers) if module == ALL else [module]

        cross = _sum(_cross(delta.layers[path], [d.layers[path] for d in reference]) for path in paths)
        own = sum(delta.layers[path].norm() ** 2 for path in paths)
        return cross / (norms * np.sqrt(own))


def _sum(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return cast(np.ndarray, sum(arrays))


def _position(values: Iterable) -> Position:
    """One number per component of the map, which has three."""
    return cast(Position, tuple(float(value) for value in values))


def _cosines(gram: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.diag(gram))
    return gram / np.outer(norms, norms)


def separation_in_words(silhouette: float) -> str:
    """The silhouette as a clause; the bands are Kaufman and Rousseeuw's (1990)."""
    if silhouette > 0.7:
        return "the tasks form strong, separate groups"
    if silhouette > 0.5:
        return "the tasks form reasonable groups"
    if silhouette > 0.25:
        return "the tasks form weak groups that overlap"
    return "the tasks hardly form groups"
