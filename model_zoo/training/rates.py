"""With which edit rates a training begins: how far the same rate moves a model differs between models by
orders of magnitude, and a short training cannot learn what is so far off.
"""

import math
from collections.abc import Callable

import torch

from ..methods.hypernetwork_method import HypernetworkMethod

FACTOR = 4.0  # between two rates that are tried
MOST = 8  # of them, one way


def find_rates(editor: HypernetworkMethod, loss: Callable[[], float]) -> float:
    """Scale the editor's edit rates by the power of FACTOR at which `loss` is lowest, going down from 1, else
    up, until it rises; returns what they were scaled by. A loss that is no number counts as the worst.
    """
    rates = [p for name, p in editor.network.named_parameters() if name.startswith("log_lr")]
    begun = [rate.detach().clone() for rate in rates]

    def at(power: int) -> float:
        with torch.no_grad():
            for rate, first in zip(rates, begun, strict=True):
                rate.copy_(first + power * math.log(FACTOR))
        found = loss()
        return found if math.isfinite(found) else math.inf

    best, lowest = 0, at(0)
    for way in (-1, 1):
        for power in range(way, way * (MOST + 1), way):
            if (found := at(power)) > lowest:
                break
            best, lowest = power, found
        if best:
            break
    at(best)
    return FACTOR**best
