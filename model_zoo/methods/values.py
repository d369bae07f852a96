"""What a subject's last token should carry so that the model says the target: keys and values (ROME, Meng et
al. 2022, arXiv 2202.05262, section 3.1).

A key is the input k [d_in] of one MLP projection at the subject's last token, the mean over several contexts
before the prompt. Its value is v* = v + z: the output there that makes the target likely, z [d_out] found by
gradient descent on
    mean over contexts of NLL(target)  +  a KL(base || changed) on "<subject> is a"  +  b |z| / |v|^2,
the last term as in the authors' code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..active import Live
from ..backbone import Backbone, Batch
from ..changes import Patches, live
from ..joining import Joined
from ..request import EditRequest
from .fine_tuning import plain_row, seek

# texts before the prompt, so that the key is the subject's in any of them; ROME has the model write its own
CONTEXTS = (
    "",
    "The weather had been fine all day. ",
    "He put the book back on the shelf. ",
    "Here is something that everybody knows. ",
    "It was in the news this morning: ",
)


@dataclass(frozen=True)
class Nudged:
    """Live: `added` [rows, d_out] goes to the output of one linear at each row's position, on top of what the
    rows see of `under`.
    """

    path: str
    positions: Tensor
    added: Tensor
    under: Live | None = None

    def prompts(self, prompts: Sequence[str]) -> list[str]:
        return list(prompts) if self.under is None else self.under.prompts(prompts)

    def output(self, path: str, x: Tensor, y: Tensor) -> Tensor | None:
        changed = None if self.under is None else self.under.output(path, x, y)
        if path != self.path:
            return changed
        own = y if changed is None else changed
        here = torch.arange(own.shape[1], device=own.device) == self.positions[:, None].to(own.device)
        return own + here[..., None] * self.added[:, None].to(own)


@dataclass(frozen=True)
class Rows:
    """Rows of several edits: which edit each belongs to, and where its subject ends (a token's place)."""

    joined: tuple[Joined, ...]
    edits: tuple[int, ...]
    positions: Tensor

    def patches(self, patches: Patches) -> list:
        """One patch per row, of one per edit."""
        return [patches[edit] for edit in self.edits]


def subject_end(backbone: Backbone, text: str, prompt: str, subject: str) -> int:
    """The place among the text's tokens of the one that the subject of the prompt within it ends in; of a
    character in several tokens the last.
    """
    end = text.rindex(prompt) + prompt.index(subject) + len(subject)
    offsets = backbone.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return max(i for i, (first, last) in enumerate(offsets) if first < end <= last)


def _row(backbone: Backbone, context: str, request: EditRequest) -> tuple[Joined, int]:
    row, text = plain_row(backbone, request, context), context + backbone.asked(request.prompt, request.chat)
    place = subject_end(backbone, text, request.prompt, request.subject or "")
    return row, min(place, row.start - 1)  # a token that carries the target's beginning too counts as target


def asked_rows(
    backbone: Backbone, requests: Sequence[EditRequest], contexts: Sequence[str] = CONTEXTS
) -> Rows:
    """Every edit's prompt and target behind each context; inside a chat template behind none."""
    found: list[tuple[Joined, int, int]] = []
    for i, request in enumerate(requests):
        put = backbone.asked(request.prompt, request.chat)
        for context in contexts if put == request.prompt else ("",):
            found.append((*_row(backbone, context, request), i))
    joined, places, edits = zip(*found, strict=True)
    return Rows(joined, edits, torch.tensor(places))


def _essence_rows(backbone: Backbone, requests: Sequence[EditRequest]) -> Rows:
    """ "<subject> is a" for every edit, with a token behind it whose prediction is compared."""
    joined, places = [], []
    for request in requests:
        subject = request.subject or ""
        ids = backbone.ids(f"{subject} is a")
        joined.append(Joined((*ids, backbone.pad_id), len(ids)))
        places.append(subject_end(backbone, f"{subject} is a", subject, subject))
    return Rows(tuple(joined), tuple(range(len(requests))), torch.tensor(places))


@torch.no_grad()
def keys_at(
    backbone: Backbone, rows: Rows, path: str, n: int, patches: Patches | None = None
) -> tuple[Tensor, Tensor]:
    """Of n edits: keys k [n, d_in], the mean input of the linear at the subject's end over the edit's rows,
    and the mean output there v [n, d_out]; `patches`: one per edit, under which that is.
    """
    own = None if patches is None else live(rows.patches(patches), backbone)
    u, _ = backbone.inputs(rows.joined, [path], own)
    found = torch.stack([u[path][i, place] for i, place in enumerate(rows.positions.tolist())])
    said = backbone.linear(path, found)
    if own is not None and (changed := _output(own, path, found, said)) is not None:
        said = changed
    return _mean_by_edit(found, rows.edits, n), _mean_by_edit(said, rows.edits, n)


def _output(own: Live, path: str, x: Tensor, y: Tensor) -> Tensor | None:
    """A live change's output for one token [d] of each row."""
    found = own.output(path, x[:, None], y[:, None])
    return None if found is None else found[:, 0].float()


def _mean_by_edit(values: Tensor, edits: Sequence[int], n: int) -> Tensor:
    index = torch.tensor(edits, device=values.device)
    total = values.new_zeros(n, values.shape[1]).index_add(0, index, values)
    return total / index.bincount(minlength=n)[:, None]


@dataclass(frozen=True)
class ValueSearch:
    """How values are sought. `most`: |z| at most so many times |v|; `essence`: weight of the divergence;
    `decay`: of |z| / |v|^2.
    """

    steps: int
    lr: float
    most: float
    essence: float
    decay: float
    stop: float

    def values(
        self,
        backbone: Backbone,
        requests: Sequence[EditRequest],
        rows: Rows,
        path: str,
        size: Tensor,
        patches: Patches | None = None,
    ) -> Tensor:
        """z [n, d_out] of n edits, each sought by itself though all at once; `size` [n]: |v| of each."""
        n, block = len(requests), _block_of(backbone, path)
        essence = _essence_rows(backbone, requests)
        asked, about = (_from(backbone, r, block, patches) for r in (rows, essence))
        own = torch.tensor(rows.edits, device=backbone.device)
        unders = [None if patches is None else live(r.patches(patches), backbone) for r in (rows, essence)]
        with torch.no_grad():
            before = backbone.target_logits(about, unders[1]).log_softmax(-1)
        z = torch.zeros(n, backbone.shape(path)[0], device=backbone.device, requires_grad=True)

        def losses() -> tuple[Tensor, Tensor]:
            nll = backbone.row_nll(asked, Nudged(path, rows.positions, z[own], unders[0]))
            nudged = Nudged(path, essence.positions, z, unders[1])
            after = backbone.target_logits(about, nudged).log_softmax(-1)
            moved = torch.nn.functional.kl_div(after, before, reduction="none", log_target=True).sum(-1)
            said = _mean_by_edit(nll[:, None], rows.edits, n)[:, 0]
            grown = (z.square().sum(1) + 1e-12).sqrt() / size.square()
            return said, said + self.essence * moved + self.decay * grown

        def shorten() -> None:
            longest = self.most * size[:, None]
            z.copy_(z * (longest / z.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0))

        return seek(z, losses, self.steps, self.lr, self.stop, shorten)


def _block_of(backbone: Backbone, path: str) -> int:
    return next(b for b in range(backbone.blocks) if path in backbone.family.linears(b))


def _from(backbone: Backbone, rows: Rows, block: int, patches: Patches | None) -> Batch:
    """The rows as a batch whose blocks below `block` are passed over: nothing sought changes them."""
    below = None if patches is None else live(rows.patches(patches), backbone)
    entering, final = backbone.states(rows.joined, block, below)
    return replace(backbone.batch(rows.joined), kept=(entering, final), first=block)
