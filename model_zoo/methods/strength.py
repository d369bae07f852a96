"""How strong an edit must be for the model to say its target: measured on the edit's own prompt, before anything is changed.

An edit that is to hold for one sentence alone has little room: a weak one does nothing, a strong one reaches the sentence's
paraphrases. The room lies elsewhere for every fact, so it is measured, and the instruction says how far to go by the measure.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..backbone import Backbone
from ..delta import Factors, LayerFactors
from ..joining import Joined

STRENGTHS = (0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5)  # the preferred numbers R5 (ISO 3)
ROWS = 8  # of a forward pass: one edit is tried at all strengths at once, many at one after another, which bounds the memory


def lead(logits: Tensor, token: Tensor) -> Tensor:
    """[N]: by how much each token [N] is ahead of every other, in logits [N, vocab]; below zero where another is said."""
    token = token[:, None]
    return logits.gather(1, token)[:, 0] - logits.scatter(1, token, float("-inf")).amax(1)


@torch.no_grad()
def least_strengths(backbone: Backbone, rows: Sequence[Joined], layers: Mapping[str, LayerFactors]) -> Tensor:
    """[E]: the least strength at which each of E low-rank edits has the model say the whole target of its row, greedily, interpolated
    between those tried; 1 where none of them is enough: what cannot say its target, or must not, is not to grow for it.

    No gradient: an edit cannot make itself cheaper by being larger."""
    sizes = {len(layer.A) for layer in layers.values()}
    assert sizes == {len(rows)}, f"{len(rows)} rows for {sizes} edits; one row per edit is needed"
    at_once = max(1, ROWS // len(rows))
    margins = [_margins(backbone, rows, layers, STRENGTHS[i : i + at_once]) for i in range(0, len(STRENGTHS), at_once)]
    return _crossing(torch.cat(margins))


def _margins(backbone: Backbone, rows: Sequence[Joined], layers: Mapping[str, LayerFactors], strengths: Sequence[float]) -> Tensor:
    """[S, E]: by how much each row's target leads where it leads least, in logits, at each of S strengths; one forward pass."""
    batch = backbone.batch([*rows] * len(strengths))
    tried = {
        path: LayerFactors(A=layer.A.repeat(len(strengths), 1, 1), B=torch.cat([layer.B * strength for strength in strengths]))
        for path, layer in layers.items()
    }
    logits = backbone.target_logits(batch, Factors(tried, torch.arange(len(batch.labels))))
    leads = lead(logits, batch.targets)
    row = batch.target_rows
    least = leads.new_full((len(batch.labels),), float("inf")).scatter_reduce(0, row, leads, "amin")
    return least.view(len(strengths), len(rows))


def _crossing(margins: Tensor) -> Tensor:
    """[E]: where margins [S, E], nearly straight between two strengths, first rise above zero."""
    enough = margins > 0
    k = enough.to(torch.int8).argmax(0)
    tried = torch.tensor(STRENGTHS, device=margins.device)
    above, below = margins.gather(0, k[None])[0], margins.gather(0, (k - 1).clamp(min=0)[None])[0]
    share = torch.where(k > 0, below / (below - above), 1.0)
    found = torch.lerp(tried[(k - 1).clamp(min=0)], tried[k], share)
    return torch.where(enough.any(0), found, 1.0)
