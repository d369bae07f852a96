"""How strong an edit must be for the model to say its target, and how far an instruction goes by that.

An edit that is to hold for one sentence alone has little room: a weak one does nothing, a strong one reaches
the sentence's paraphrases. The room lies elsewhere for every fact. So it is measured, on the edit's own
prompt, before anything is changed: m is the least strength that is enough. The instruction then says (a, b),
and the edit is made

    m^a e^b times as strong.

Both begin at zero, where the measure is ignored; at a = 1 it is followed to the letter.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..backbone import Backbone
from ..changes import Factors, LayerFactors
from ..joining import Joined

STRENGTHS = (0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5)  # the preferred numbers R5 (ISO 3)
ROWS = 8  # of one forward pass: it tries one edit at all strengths, or many at few, which bounds the memory


def followed(asked: Tensor, least: Tensor) -> Tensor:
    """m^a e^b [E], of what instructions ask, (a, b) in `asked` [E, 2], and of the measures m in `least` [E].

    a counts as no less than 0 and no more than 1.
    """
    follow, beyond = asked.unbind(1)
    return (follow.clamp(0, 1) * least.log() + beyond).exp()


def lead(logits: Tensor, token: Tensor) -> Tensor:
    """[N]: by how much each token [N] is ahead of every other, in logits [N, vocab].

    It is below zero where the model says another token.
    """
    token = token[:, None]
    return logits.gather(1, token)[:, 0] - logits.scatter(1, token, float("-inf")).amax(1)


@torch.no_grad()
def least_strengths(backbone: Backbone, rows: Sequence[Joined], layers: Mapping[str, LayerFactors]) -> Tensor:
    """m [E]: the least strength at which each of E low-rank edits has the model say its row's whole target.

    The target is to be said greedily; m is interpolated between the strengths that were tried. It is 1 where
    none of them is enough: an edit that cannot say its target, or must not, is not to grow for it. There is
    no gradient: an edit cannot make itself cheaper by being larger.
    """
    sizes = {len(layer.factors[0]) for layer in layers.values()}
    assert sizes == {len(rows)}, f"{len(rows)} rows for {sizes} edits; one row per edit is needed"
    at_once = max(1, ROWS // len(rows))
    groups = [STRENGTHS[i : i + at_once] for i in range(0, len(STRENGTHS), at_once)]
    margins = [_margins(backbone, rows, layers, group) for group in groups]
    return _crossing(torch.cat(margins))


def _margins(
    backbone: Backbone,
    rows: Sequence[Joined],
    layers: Mapping[str, LayerFactors],
    strengths: Sequence[float],
) -> Tensor:
    """[S, E]: the least lead along each row's target, at each of S strengths; one forward pass."""
    batch = backbone.batch([*rows] * len(strengths))
    tried = {}
    for path, layer in layers.items():
        a, b = layer.factors
        stronger = torch.cat([b * strength for strength in strengths])
        tried[path] = LayerFactors(A=a.repeat(len(strengths), 1, 1), B=stronger)
    logits = backbone.target_logits(batch, Factors(tried, torch.arange(len(batch.labels))))
    leads = lead(logits, batch.targets)
    least = leads.new_full((len(batch.labels),), float("inf"))
    least = least.scatter_reduce(0, batch.target_rows, leads, "amin")
    return least.view(len(strengths), len(rows))


def _crossing(margins: Tensor) -> Tensor:
    """[E]: where margins [S, E], nearly straight between two strengths, first rise above zero."""
    enough = margins > 0
    first = enough.to(torch.int8).argmax(0)  # the first strength that is enough, and the one before it
    before = (first - 1).clamp(min=0)
    above, below = margins.gather(0, first[None])[0], margins.gather(0, before[None])[0]
    share = torch.where(first > 0, below / (below - above), 1.0)
    tried = torch.tensor(STRENGTHS, device=margins.device)
    found = torch.lerp(tried[before], tried[first], share)
    return torch.where(enough.any(0), found, 1.0)
