"""The mean of editors that went on from one start (Wortsman et al. 2022, arXiv 2203.05482): what each learned by chance cancels."""

import copy
from collections.abc import Sequence

import torch

from ..methods.instructedit import InstructEdit
from .fitting import refit


def average(editors: Sequence[InstructEdit]) -> InstructEdit:
    """An editor whose every parameter is the mean of theirs. ValueError where they are not of one network and one start."""
    if len(editors) < 2:
        raise ValueError(f"{len(editors)} editor was given, and a mean needs two or more; name the folders of the others.")
    first = editors[0]
    states = [editor.network.state_dict() for editor in editors]
    for editor, state in zip(editors, states, strict=True):
        if (editor.name, editor.config.hyper, editor.config.modules) != (first.name, first.config.hyper, first.config.modules):
            raise ValueError(
                f"Editors of two networks have no mean: one is {first.config.hyper.model_dump()} over {list(first.config.modules)}, another "
                f"{editor.config.hyper.model_dump()} over {list(editor.config.modules)}. Train them by one recipe from one start."
            )
        for name, _ in first.network.named_buffers():
            if not torch.equal(state[name], states[0][name]):
                raise ValueError(
                    f"Editors of two starts have no mean: what training never changes ({name}) is not the same in both. Train them from one "
                    "finished editor, by --start."
                )
    network = copy.deepcopy(first.network)
    network.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    training = first.config.training | {"mean_of": [editor.fingerprint for editor in editors]}
    mean = type(first)(first.backbone, first.config.model_copy(update={"training": training, "metrics": {}}), network, first.covariance)
    refit(mean)  # their readings' mean is not quite what either's head was fitted to
    return mean
