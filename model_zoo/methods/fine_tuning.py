"""What methods share that train on the edit itself: Adam on a live change until its target is likely."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ..backbone import Backbone, Batch
from ..changes import Delta, Factors, LayerDelta, LayerFactors
from ..joining import Joined, ended
from ..request import EditRequest
from .base import EditMethod, summed
from .hyperparameters import Hyperparameters


class FineTuningHyperparameters(Hyperparameters):
    """When to stop. Small models need more and larger steps than those of billions of weights."""

    steps: int = Field(40, ge=1, le=1000, title="Steps", description="Adam steps at most; EasyEdit takes 25")
    lr: float = Field(
        2e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="of Adam; EasyEdit's 5e-4 is for billions of weights",
    )
    stop_nll: float = Field(
        0.02,
        ge=0,
        le=10,
        title="Stop at",
        description="nats per target token at which the edit is done; measured here",
    )


WIDTH = 768  # inputs of a matrix for which learning rates and bounds of dense changes are given


def by_width(d_in: int) -> float:
    """What learning rate and bound of a dense change are multiplied by for a matrix of so many inputs.

    Adam moves every entry alike, and what that adds to an output grows with the inputs that it is summed
    over: steps do the same to models of any width when they fall as 1 / d_in (Yang et al. 2022, arXiv
    2203.03466, table 3).
    """
    return WIDTH / d_in


def descend(
    parameters: Iterable[Any],
    loss: Callable[[], Tensor],
    steps: int,
    lr: float,
    stop: float,
    after: Callable[[], object] | None = None,
) -> None:
    """Adam on the parameters (tensors, or groups of them as Adam takes them), in place, for at most so many
    steps, until the loss is below `stop`; `after` each step.
    """
    adam = torch.optim.Adam(list(parameters), lr=lr)
    with torch.enable_grad():
        for _ in range(steps):
            value = loss()
            if value.item() < stop:
                break
            adam.zero_grad()
            value.backward()
            adam.step()
            if after is not None:
                with torch.no_grad():
                    after()


def seek(
    z: Tensor,
    losses: Callable[[], tuple[Tensor, Tensor]],
    steps: int,
    lr: float,
    stop: float,
    after: Callable[[], object] | None = None,
) -> Tensor:
    """Vectors z [n, d], each sought by itself though all at once: Adam on each one's loss until its target is
    likely enough, where it then stays. `losses`: (NLL of the targets, the whole loss), [n] each.
    """
    going = torch.ones(len(z), 1, dtype=torch.bool, device=z.device)
    best = z.detach().clone()

    def loss() -> Tensor:
        said, each = losses()
        best.copy_(torch.where(going, z.detach(), best))
        going.logical_and_((said.detach() >= stop)[:, None])
        return (each * going[:, 0]).sum()

    # a sum over none is 0, and nothing is left to seek
    descend([z], loss, steps, lr, 1e-9, after)
    return torch.where(going, z.detach(), best)


def plain_row(backbone: Backbone, request: EditRequest, context: str = "") -> Joined:
    """An edit's prompt as people ask it, behind a context, with its target up to the end of the sentence:
    a model that learns the target alone goes on repeating it. No instruction: these methods read none.
    """
    put = backbone.asked(request.prompt, request.chat)
    return backbone.join(context + put, ended(request.target, "."))


def whole_row(backbone: Backbone, request: EditRequest, context: str = "") -> Joined:
    """The same up to the end of the text, where the model has an end token: what learns the sentence alone
    may still go on with its words ("Rome. Rome. Rome.").
    """
    row = plain_row(backbone, request, context)
    return row if backbone.end_id is None else backbone.stopped(row)


def rows_of(backbone: Backbone, requests: Sequence[EditRequest]) -> Batch:
    """The edits' whole rows as one batch."""
    return backbone.batch([whole_row(backbone, request) for request in requests])


def fit_dense(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    paths: Sequence[str],
    config: FineTuningHyperparameters,
    start: Delta | None = None,
    bound: float = math.inf,
) -> Delta:
    """A dense change of the matrices at `paths`, for all the requests, on the base model or on that under
    `start`; no entry of their sum passes `bound`. Learning rate and bound are those by_width().
    """
    batch = rows_of(backbone, requests)
    begun = {path: torch.zeros(1, *backbone.shape(path), device=backbone.device) for path in paths}
    for path in paths:
        if start is not None and path in start.layers:
            begun[path] += start.layers[path].dense().to(begun[path])
    sums = {path: change.clone().requires_grad_() for path, change in begun.items()}
    live = under(
        {path: LayerFactors(D=change) for path, change in sums.items()}, start, len(requests), backbone
    )
    scale = {path: by_width(change.shape[-1]) for path, change in sums.items()}
    descend(
        [{"params": [change], "lr": config.lr * scale[path]} for path, change in sums.items()],
        lambda: backbone.row_nll(batch, live).mean(),
        config.steps,
        config.lr,
        config.stop_nll,
        lambda: [change.clamp_(-bound * scale[path], bound * scale[path]) for path, change in sums.items()],
    )
    return Delta({path: LayerDelta(D=(change - begun[path])[0]) for path, change in sums.items()})


def under(layers: dict[str, LayerFactors], start: Delta | None, rows: int, backbone: Backbone) -> Factors:
    """A live change of one edit that all rows see, added to that of `start`."""
    below = Factors.of([start] if start else [], [0] * rows, backbone.device)
    return replace(below, layers={**below.layers, **layers})


class FineTuning(EditMethod):
    """A method whose edit is trained by gradient descent on its own prompt and target."""

    kind = Delta

    def propose(self, requests: Sequence[EditRequest]) -> list[Delta]:
        return [self.fit([request]) for request in requests]

    def combine(self, changes: Sequence[Delta]) -> Delta:
        return summed(changes)

    def together(self, requests: Sequence[EditRequest]) -> Delta:
        """One change fitted on all requests together."""
        return self.fit(requests)

    def extend(self, before: Delta | None, request: EditRequest) -> Delta:
        return self.fit([request], before)

    @abstractmethod
    def fit(self, requests: Sequence[EditRequest], start: Delta | None = None) -> Delta:
        """One change for all the requests, on the base model or on that under `start`."""
