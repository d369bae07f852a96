"""Findings as lines for a terminal."""

from collections.abc import Callable, Iterator

from ..inspecting.findings import (
    Consequences,
    EditedBack,
    Finding,
    Knowledge,
    Layers,
    NearestEdits,
    NeutralText,
    Strengths,
    Traced,
)
from ..sources.surroundings import KINDS


def tell(finding: Finding) -> None:
    """Print a finding under its title."""
    title, lines = _TITLES[type(finding)]
    for i, line in enumerate(lines(finding)):
        print(f"{title if i == 0 else '':<13}{line}", flush=True)


def _neutral_text(found: NeutralText) -> Iterator[str]:
    yield f"{found.divergence:.3f} nats a token away; perplexity {found.before:.1f} -> {found.after:.1f}"
    yield f"({found.rise:+.1%}); states move by {found.drift[-1]:.1%} of their norm behind the last block"


def _knowledge(found: Knowledge) -> Iterator[str]:
    for kind, (stay, n) in found.counts().items():
        yield f"{KINDS[kind].lower()}: {stay} of {n} stay"
    yield f"{found.unknown} of {found.listed} listed facts are not said by the base model either"
    for fact in found.moved_most:
        sign = "stays" if fact.stays else "MOVED"
        likely = f"({fact.before:.1%} -> {fact.after:.1%})"
        yield f"  {sign}  {fact.prompt}  |  {fact.answer}  ->  {fact.said}  {likely}"


def _consequences(found: Consequences) -> Iterator[str]:
    if not found.steps:
        yield "nothing listed follows from this target one step on"
    for step in found.steps:
        sign = "yes" if step.follows else "NO"
        yield f"{sign:<4}{step.prompt}  |  {step.before}  ->  {step.after}  (would be: {step.expected})"


def _edited_back(found: EditedBack) -> Iterator[str]:
    if found.problem:
        yield found.problem
        return
    yield f"back to '{found.answer}': {found.same} of {len(found.prompts)} prompts are answered as at first"
    for prompt in found.prompts:
        if not prompt.same:
            yield f"  {prompt.prompt}  |  {prompt.before}  ->  {prompt.after}"


def _strengths(found: Strengths) -> Iterator[str]:
    if found.problem:
        yield found.problem
        return
    at = "at no strength" if found.crossover is None else f"at strength {found.crossover:.2f}"
    yield f"the target overtakes the old answer {at}"
    if gentle := found.gentlest:
        likely = f"{gentle.target:.1%} likely per token"
        yield f"at {gentle.strength:g} it is {likely}, and {gentle.stay} beside it stay"
    for point in found.points:
        stay = f"{point.stay} of {found.beside} beside it stay"
        yield f"  {point.strength:<5g} target {point.target:6.1%}, old answer {point.old:6.1%}, {stay}"


def _layers(found: Layers) -> Iterator[str]:
    yield f"likelihood of '{found.target}' and '{found.old}' behind each block, before -> after"
    for b in found.blocks:
        target, old = (
            f"{b.target_before:6.1%} -> {b.target_after:6.1%}",
            f"{b.old_before:6.1%} -> {b.old_after:6.1%}",
        )
        yield f"  {b.block:<4} {target}    {old}"


def _traced(found: Traced) -> Iterator[str]:
    if found.problem:
        yield found.problem
        return
    yield f"noise on the subject takes '{found.answer}' from {found.clean:.1%} to {found.noised:.1%};"
    yield "a state put back returns so much of that, by block and token:"
    yield "  " + " ".join(f"{token[:8]:>8}" for token in ("block", *found.tokens))
    for block, row in zip(found.blocks, found.share, strict=True):
        yield "  " + " ".join([f"{block:>8}", *(f"{share:8.0%}" for share in row)])


def _nearest(found: NearestEdits) -> Iterator[str]:
    if found.problem:
        yield found.problem
        return
    yield f"reference edits that point the same way, of {found.references}: made alone; their prompt now"
    for e in found.edits:
        holds = f"{'holds' if e.holds else 'FAILS'} {e.likelihood:6.1%}"
        now = "as before" if e.same else f"{e.before}  ->  {e.after}"
        yield f"  {e.cosine:5.2f}  {e.prompt} -> {e.target}  |  {holds}  |  {now}"


_TITLES: dict[type, tuple[str, Callable[..., Iterator[str]]]] = {
    NeutralText: ("Running text", _neutral_text),
    Knowledge: ("Known facts", _knowledge),
    Consequences: ("Follows", _consequences),
    EditedBack: ("Back again", _edited_back),
    Strengths: ("Strength", _strengths),
    Layers: ("Blocks", _layers),
    Traced: ("Tracing", _traced),
    NearestEdits: ("Nearest", _nearest),
}
