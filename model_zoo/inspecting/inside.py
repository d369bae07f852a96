"""Where inside the model an answer comes from: the logit lens, and causal tracing of the subject."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..active import Active, activated
from ..backbone import Backbone
from ..changes import Patch, live
from ..generation import joined
from .findings import Block, Layers, Traced

NOISE = 3.0  # standard deviations of the states that enter the first block, as in Meng et al. 2022
ROWS = 96  # rows of one forward pass
LEAST = 0.25  # of the answer's likelihood noise must take, else there is too little to bring back


@torch.no_grad()
def lens(backbone: Backbone, prompt: str, target: str, old: str, patch: Patch | None) -> Layers:
    """The likelihood of both answers' first tokens behind every block, at the prompt's end, without and with
    the patch.

    Source: the logit lens (nostalgebraist 2020; Belrose et al. 2023, arXiv 2303.08112, section 2): the final
    norm and the head read what each block leaves.
    """
    seen = live([None, patch], backbone)
    rows = joined(backbone, [prompt] * 2, [target] * 2, seen)
    batch = backbone.batch(rows)
    ids = [_first_token(backbone, prompt, target), _first_token(backbone, prompt, old or target)]
    ends = torch.tensor([row.start - 1 for row in rows])
    states: list[Tensor] = []

    def visit(block: int, hidden: Tensor) -> Tensor:
        if block:
            states.append(hidden[torch.arange(2), ends].to(batch.input_ids.device))
        return hidden

    with activated(Active(backbone, live=seen, visit=visit)):
        final = backbone.hidden(batch)[torch.arange(2), ends]
    read = torch.cat([*(backbone.finished(state) for state in states), final])  # (blocks * 2, d)
    likely = backbone.head(read).softmax(-1)[:, ids].view(-1, 2, 2)  # (blocks, 2 rows, 2 answers)
    blocks = (
        Block(i, before[0], after[0], before[1], after[1])
        for i, (before, after) in enumerate(likely.tolist())
    )
    said = [str(backbone.tokenizer.decode([i])).strip() for i in ids]
    return Layers(said[0], said[1] if ids[0] != ids[1] else "", tuple(blocks))


@torch.no_grad()
def trace(
    backbone: Backbone, prompt: str, subject: str, answer: str, draws: int = 2, most_blocks: int = 12
) -> Traced:
    """Causal tracing (Meng et al. 2022, arXiv 2202.05262, section 2.1): noise on what enters the first block
    at the subject's tokens, then one state at a time put back as it was without noise.

    At most `most_blocks` blocks, evenly spread, are restored at every token; the likelihood is that of the
    answer's first token, the mean over `draws` of noise.
    """
    row = backbone.join(prompt, answer)
    ids, token = row.ids[: row.start], row.ids[row.start]
    start, end = subject_tokens(backbone, prompt, subject)
    names = tuple(str(backbone.tokenizer.decode([i])).strip() or "·" for i in ids)
    blocks = _spread(backbone.blocks - 1, most_blocks)
    batch = backbone.batch([row])
    clean: list[Tensor] = []

    def keep(block: int, hidden: Tensor) -> Tensor:
        clean.append(hidden[0])
        return hidden

    with activated(Active(backbone, visit=keep)):
        final = backbone.hidden(batch)[0, row.start - 1]
    known = backbone.head(final).softmax(-1)[token].item()
    generator = torch.Generator().manual_seed(0)
    scale = NOISE * clean[0][: row.start].float().std().item()
    size = (draws, end - start, clean[0].shape[-1])
    noise = (torch.randn(size, generator=generator) * scale).to(clean[0])
    # what is put back: (block, token), nothing in the first
    spots = [(-1, 0), *((block, place) for block in blocks for place in range(row.start))]
    jobs = [(spot, draw) for spot in spots for draw in range(draws)]

    def restored(part: Sequence[tuple[tuple[int, int], int]]) -> Tensor:
        def visit(block: int, hidden: Tensor) -> Tensor:
            hidden = hidden.clone()
            if block == 0:
                hidden[:, start:end] += noise[[draw for _, draw in part]]
            for i, ((after, place), _) in enumerate(part):
                if after == block - 1 and block:
                    hidden[i, place] = clean[block][place]
            return hidden

        rows = backbone.batch([row] * len(part))
        with activated(Active(backbone, visit=visit)):
            ends = backbone.hidden(rows)[:, row.start - 1]
        return backbone.head(ends).softmax(-1)[:, token].cpu()

    found = torch.cat([restored(jobs[i : i + ROWS]) for i in range(0, len(jobs), ROWS)])
    likely = found.view(len(spots), draws).mean(1).tolist()
    noised, taken = likely[0], known - likely[0]
    if taken < LEAST * known:
        problem = (
            f"With noise on the subject the answer is {noised:.1%} likely, without {known:.1%}: there is "
            "nothing to trace."
        )
        return Traced(names, (start, end), (), (), known, noised, answer, problem)
    shares = [(value - noised) / taken for value in likely[1:]]
    grid = tuple(tuple(shares[i : i + row.start]) for i in range(0, len(shares), row.start))
    return Traced(names, (start, end), blocks, grid, known, noised, answer)


def _first_token(backbone: Backbone, prompt: str, answer: str) -> int:
    row = backbone.join(prompt, answer)
    return row.ids[row.start]


def subject_tokens(backbone: Backbone, prompt: str, subject: str) -> tuple[int, int]:
    """The first token of the subject in the prompt, and the one behind its last."""
    begin = prompt.index(subject)
    offsets = backbone.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(offsets) if b > begin and a < begin + len(subject) and b > a]
    return inside[0], inside[-1] + 1


def _spread(n: int, most: int) -> tuple[int, ...]:
    """At most so many of the first n blocks, evenly spread, the last of them included."""
    if n <= most:
        return tuple(range(n))
    return tuple(round(i * (n - 1) / (most - 1)) for i in range(most))
