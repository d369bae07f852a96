"""The mean of editors that went on from one start, a model soup (Wortsman et al. 2022, arXiv 2203.05482):
what each learned by chance partly cancels.
"""

import copy
from collections.abc import Sequence

import torch

from ..methods.hypernetwork_method import HypernetworkMethod
from .fitting import refit


def average(editors: Sequence[HypernetworkMethod]) -> HypernetworkMethod:
    """An editor whose every parameter is the mean of theirs, fitted once more (see fitting.py). Its
    configuration keeps what their trainings had in common, and under `mean_of` where they differed.

    ValueError where they are not of one network, or what training never changes is not the same in all, as it
    is after one start.
    """
    if len(editors) < 2:
        raise ValueError(
            f"{len(editors)} editor was given, and a mean needs two or more; name the folders of the others."
        )
    for editor in editors:
        if not isinstance(editor, HypernetworkMethod):
            raise ValueError(
                f"{type(editor).pretty_name} has no hypernetwork, and a mean is taken of hypernetworks."
            )
    first = editors[0]
    states = [editor.network.state_dict() for editor in editors]
    for editor, state in zip(editors, states, strict=True):
        if _network(editor) != _network(first):
            raise ValueError(
                f"Editors of two networks have no mean: one is {_network(first)}, another "
                f"{_network(editor)}. Train them by one recipe, "
                "from one start."
            )
        for name in dict(first.network.named_buffers()):
            if not torch.equal(state[name], states[0][name]):
                raise ValueError(
                    f"Editors of two starts have no mean: what training never changes ({name}) is not the "
                    "same in both. Train them from one "
                    "finished editor, by --start."
                )
    network = copy.deepcopy(first.network)
    network.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    )
    covariance = {
        path: torch.stack([editor.covariance[path] for editor in editors]).mean(0)
        for path in first.covariance
    }
    trainings = [editor.config.training for editor in editors]
    shared = {
        name: value
        for name, value in trainings[0].items()
        if all(training.get(name) == value for training in trainings)
    }
    own = [
        {"editor": e.fingerprint} | {k: v for k, v in e.config.training.items() if k not in shared}
        for e in editors
    ]
    config = first.config.model_copy(update={"training": shared | {"mean_of": own}, "metrics": {}})
    mean = type(first)(first.backbone, config, network, covariance)
    refit(mean, shared.get("fits", {}))
    return mean


def _network(editor: HypernetworkMethod) -> dict:
    """What two editors must have in common to be one network."""
    config = editor.config.model_dump()
    return {"modules": list(config["modules"]), **config["hyper"]} | {
        name: config[name] for name in ("method", "tasks", "target_end")
    }
