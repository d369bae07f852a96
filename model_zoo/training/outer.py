"""The outer loss of one step of meta-training (MEND's, arXiv 2110.11309, over instructed edits of several
tasks, and more terms).

c_edit * NLL(target | edited model) on the edit prompts and their paraphrases, plain and instructed, + c_loc *
KL(base || edited) on locality prompts + c_lead * what should be said lacks of its lead on both, each a mean
over the tokens of all the step's edits (or over their rows, where long answers would drown short ones), +
c_read * the contrast between how instructions of one scope and of another are read. Where the edits'
instructions say how far they reach, c_reach * what should be said lacks is added, and their own prompts count
until the right thing is said: likelihood would go on and carry an edit over what is worded alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..backbone import Backbone
from ..changes import Factors, LayerFactors
from ..joining import Joined
from ..methods.hypernetwork_method import HypernetworkMethod
from ..methods.strength import lead
from ..processes import together
from .config import MetaConfig
from .examples import TrainingEdit

ENOUGH_LEAD = 0.5  # logits by which what should be said is to lead
JUST_SAID = 0.1  # the same on a scoped edit's own prompt: more would only carry it further
TEMPERATURE = 0.2  # of the likeness of two readings


@dataclass(frozen=True)
class OuterRow:
    """One row of the outer batch: the edit it belongs to, and whether it should follow the edit or stay;
    `just`: by JUST_SAID and no more.
    """

    row: Joined
    edit: int
    follow: bool
    just: bool = False


@dataclass(frozen=True)
class Step:
    """The edits of one step: each alone, or `joint`, all of them solved into one change; instructions with
    the scopes they say; and whether the edits are `scoped`, their own instructions saying how far they reach.
    """

    examples: Sequence[TrainingEdit]
    joint: bool = False
    wordings: Sequence[tuple[Joined, str]] = ()
    scoped: bool = False


def outer_loss(editor: HypernetworkMethod, step: Step, config: MetaConfig) -> tuple[Tensor, dict[str, float]]:
    """The outer loss of one step, its gradient reaching the hypernetwork alone; and its parts as numbers.

    Of several processes, each has the part that its share of the edits has in the whole step's loss: loss,
    gradient and numbers are the step's when they are summed.
    """
    processes = together()
    share = processes.share(step.examples)
    made = step.examples if step.joint else share  # a joint solve is of all edits
    captured = editor.capture([example.edit for example in made], plain=[example.plain for example in made])
    updates = editor.updates(captured)
    layers: Mapping[str, LayerFactors] = editor.stacked(captured, updates) if step.joint else updates
    edits = [(0 if step.joint else i, example) for i, example in enumerate(share)]
    rows = [OuterRow(row, i, True) for i, example in edits for row in example.follow]
    rows += [OuterRow(row, i, True, just=True) for i, example in edits for row in example.own]
    rows += [OuterRow(row, i, False) for i, example in edits for row in example.stay]
    rows.sort(key=lambda r: len(r.row.ids))
    # short and long rows apart, where that pads least: instructed rows are several times as long
    sizes = [len(r.row.ids) for r in rows]
    cut = min(range(1, len(rows)), key=lambda k: k * sizes[k - 1] + (len(rows) - k) * sizes[-1], default=0)
    chunks = [
        _sums(editor.backbone, layers, chunk, config.c_lead + config.c_reach > 0, config.by_row)
        for chunk in (rows[:cut], rows[cut:])
        if chunk
    ]
    total = Sums(*(sum(values) for values in zip(*chunks, strict=True)))
    counts = processes.sums({"following": total.following, "staying": total.staying})
    following, staying = (max(n, 1) for n in counts.values())
    edit, missed = total.edit / following, total.missed / following
    local, lost = total.local / staying, total.lost / staying
    # all that stays holds a scoped edit back just before its target is said
    reach = config.c_reach * missed if step.scoped else 0.0
    loss = config.c_edit * edit + config.c_loc * local + config.c_lead * (missed + lost) + reach
    numbers = {"edit": edit.item(), "missed": missed.item(), "local": local.item(), "lost": lost.item()}
    asked, scopes = zip(*step.wordings, strict=True) if step.wordings else ((), ())
    if asked and (read := editor.readings(asked)) is not None:
        reading = reading_loss(read, scopes) / processes.size  # all of them in every process
        loss, numbers = loss + config.c_read * reading, numbers | {"reading": reading.item()}
    return loss, numbers


def reading_loss(read: Tensor, scopes: Sequence[str]) -> Tensor:
    """Wordings of one scope should be read alike and those of two scopes apart: the supervised contrastive
    loss (Khosla et al. 2020, arXiv 2004.11362, equation 2) of what was read, [E, size].
    """
    same = torch.tensor([[a == b for b in scopes] for a in scopes], device=read.device)
    itself = torch.eye(len(scopes), dtype=torch.bool, device=read.device)
    unit = torch.nn.functional.normalize(read, dim=-1)
    likeness = ((unit @ unit.T) / TEMPERATURE).masked_fill(itself, -1e9).log_softmax(1)
    same = same & ~itself
    per_edit = (likeness * same).sum(1) / same.sum(1).clamp(min=1)
    return -per_edit.sum() / same.any(1).sum().clamp(min=1)


class Sums(NamedTuple):
    """Of some outer rows: NLL and missed lead over the tokens that follow an edit; KL and lost lead over
    those that stay; how many tokens, or rows, there are of each.
    """

    edit: Tensor
    missed: Tensor
    following: int
    local: Tensor
    lost: Tensor
    staying: int


def _sums(
    backbone: Backbone,
    layers: Mapping[str, LayerFactors],
    rows: Sequence[OuterRow],
    leads: bool,
    by_row: bool = False,
) -> Sums:
    batch, live = backbone.batch([r.row for r in rows]), Factors(layers, torch.tensor([r.edit for r in rows]))
    logits = backbone.target_logits(batch, live)
    row = batch.target_rows
    follow, just = (
        torch.tensor(flags, device=logits.device)[row]
        for flags in ([r.follow for r in rows], [r.just for r in rows])
    )
    followed, targets, just = logits[follow], batch.targets[follow], just[follow]
    weight = _weights(row, by_row)
    edit = torch.nn.functional.cross_entropy(followed, targets, reduction="none")
    missed = edit.new_zeros(len(edit))
    if leads or just.any():  # a second look at every logit
        missed = missed_lead(followed, targets, torch.where(just, JUST_SAID, ENOUGH_LEAD))
        edit = edit * (
            ~just | (missed > 0)
        )  # those said count in the mean all the same: what is left weighs no more for it
    local = lost = logits.new_zeros(())
    if still := [r.row for r in rows if not r.follow]:
        with torch.no_grad():
            base = backbone.target_logits(backbone.batch(still))
        edited = logits[~follow]
        divergence = torch.nn.functional.kl_div(
            edited.log_softmax(-1), base.log_softmax(-1), log_target=True, reduction="none"
        )
        local = divergence.sum(-1) @ weight[~follow]
        lost = lost_lead(base, edited) @ weight[~follow] if leads else lost
    following, staying = (round(float(weight[part].sum())) for part in (follow, ~follow))
    return Sums(edit @ weight[follow], missed @ weight[follow], following, local, lost, staying)


def _weights(row: Tensor, by_row: bool) -> Tensor:
    """[N]: what each token counts, of the rows [N] that they stand in: 1, or what makes rows count alike."""
    return row.bincount()[row].float().reciprocal() if by_row else torch.ones_like(row, dtype=torch.float32)


def missed_lead(edited: Tensor, target: Tensor, enough: Tensor | float = ENOUGH_LEAD) -> Tensor:
    """[N]: how far the target falls short of a lead that is enough, in logits [N, vocab]. An edit held small
    by all that should stay stops just before its target is said: the likelihood hardly sees that, this does.
    """
    return (enough - lead(edited, target)).clamp(min=0)


def lost_lead(base: Tensor, edited: Tensor) -> Tensor:
    """[N]: how far the base's first choice has fallen behind the lead that it had, or ENOUGH_LEAD of it, in
    logits [N, vocab]. Where the base is unsure an edit may turn what is said and hardly move the
    distribution; this sees it.
    """
    first = base.argmax(-1)
    return (lead(base, first).clamp(max=ENOUGH_LEAD) - lead(edited, first)).clamp(min=0)
