"""The table of heads: the linear maps through which a network does more than the published one.

Every head starts at zero, so an untrained one changes nothing. Sizes are named: `instruction` is the vector
read of an instruction, `common` the directions that relations share, `matrices` the edited matrices of one
shape, and `width` d_in + d_out of that shape.
"""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Head:
    """A linear map without bias, from a vector of the size `reads` to one of the size `gives`."""

    name: str  # of the attribute, and in an editor's file
    reads: str
    gives: str
    does: str
    fast: bool = False  # few numbers that size whole edits: they learn at the rate of the edit rates
    since: int = 1  # the editor format that first had it; an older editor's stays zero


HEADS = (
    # each residual layer has these two; see gates.py
    Head("rescale", "instruction", "width", "is added to the layer's scale"),
    Head("reshift", "instruction", "width", "is added to the layer's shift"),
    # the network of each shape has the following; gates.py
    Head("gate", "instruction", "width", "1 + gate multiplies the last layer's output"),
    Head("rate", "instruction", "matrices", "e^rate multiplies delta~"),
    # reach.py
    Head("reach", "instruction", "matrices", "how far u~ goes along the common directions", fast=True),
    Head("keep", "instruction", "matrices", "e^keep multiplies the rest of u~", fast=True, since=3),
    Head("stretch", "common", "matrices", "e^stretch multiplies the reach, by relation", fast=True, since=3),
    # joint.py
    Head("token_weight", "width", "one", "e^token_weight is a token's weight in a joint solve"),
    # the whole network has this one; strength.py
    Head("strength_head", "instruction", "two", "(a, b): an edit is made m^a e^b times as strong", fast=True),
)
FAST_HEADS = tuple(head.name for head in HEADS if head.fast)
LATER_HEADS = tuple(head.name for head in HEADS if head.since > 2)  # editors of format 2 lack them


def zero_linear(size: int, width: int) -> nn.Linear:
    """A linear map [..., size] -> [..., width] that starts at zero."""
    layer = nn.Linear(size, width, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def make_head(name: str, **sizes: int) -> nn.Linear:
    """The head of that name, for the given sizes."""
    head = next(head for head in HEADS if head.name == name)
    sizes = {"one": 1, "two": 2} | sizes
    return zero_linear(sizes[head.reads], sizes[head.gives])
