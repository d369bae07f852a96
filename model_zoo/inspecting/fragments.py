"""Findings -> HTML fragments, for the page and for the report. Everything that a person or a model wrote is
escaped; every figure stands in words or in a table.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape

from ..sources.surroundings import KINDS
from .findings import (
    Consequences,
    EditedBack,
    Finding,
    Knowledge,
    KnownFact,
    Layers,
    NearestEdits,
    NeutralText,
    Strengths,
    Traced,
)

SLIGHT, CLEAR = 0.05, 0.5  # nats per token: up to here text reads as before, a little differently
NEARLY_ALL, MOST = 0.95, 0.8  # shares that count as good and as mixed
_NO_LIST = "No fact of the list is near this prompt."


def shares_state(part: float, whole: float) -> str:
    """good, mixed or bad, for so many of so many that stay."""
    share = part / whole if whole else 1.0
    return "good" if share >= NEARLY_ALL else "mixed" if share >= MOST else "bad"


def drift_state(divergence: float) -> str:
    """good, mixed or bad, for nats per token of divergence from the base."""
    return "good" if divergence < SLIGHT else "mixed" if divergence < CLEAR else "bad"


def drift_words(divergence: float) -> str:
    """How text reads that is so many nats per token from the base."""
    if divergence < SLIGHT:
        return "nearly as before"
    return "a little differently" if divergence < CLEAR else "quite differently"


def lights(found: Iterable[Finding]) -> str:
    """One light for each of: what is known, running text, there and back; those that are found so far."""
    cards = [card for finding in found if (card := _card(finding))]
    return f'<div class="lights" aria-live="polite">{"".join(cards)}</div>'


def _card(finding: Finding) -> str:
    if isinstance(finding, Knowledge) and finding.facts:
        stay, n = sum(fact.stays for fact in finding.facts), len(finding.facts)
        far = "" if finding.done else f", {finding.asked} of {finding.listed} asked so far"
        return _light("Known facts", shares_state(stay, n), f"{stay} of {n} stay", f"around the edit{far}")
    if isinstance(finding, NeutralText):
        about = f"perplexity {finding.before:.1f} → {finding.after:.1f} ({finding.rise:+.1%})"
        state, moved = drift_state(finding.divergence), f"{finding.divergence:.3f} nats a token"
        return _light("Running text", state, moved, about)
    if isinstance(finding, EditedBack) and finding.prompts:
        same, n = finding.same, len(finding.prompts)
        about = f"as at first after editing back to “{escape(finding.answer)}”"
        return _light("There and back", shares_state(same, n), f"{same} of {n} answers", about)
    return ""


def _light(title: str, state: str, figure: str, about: str) -> str:
    return (
        f'<section class="light {state}"><h3>{title}</h3><p class="figure">{figure}</p>'
        f"<p>{about}</p></section>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], wide: bool = True) -> str:
    """A table; cells are HTML already."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    name = "found wide" if wide else "found"
    return f'<div class="{name}"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


# ---- one finding each --------------------------------------------------------------------------------------


def knowledge(found: Knowledge) -> str:
    """How many facts of each kind stay, those that moved most, and all of them on request."""
    if not found.facts:
        return f"<p>{_NO_LIST}</p>" if found.done else ""
    bars = "".join(_bar(KINDS[kind], *counts) for kind, counts in found.counts().items())
    unknown = (
        f" {found.unknown} of the {found.asked} asked are left out: the base model does not say them either."
        if found.unknown
        else ""
    )
    note = f'<p class="source">Listed facts that the base model says, asked of the edited one.{unknown}</p>'
    if not found.done:
        return f'<div class="bars">{bars}</div>{note}'
    moved = table(("Moved most", "before", "after", "likely per token"), map(_fact, found.moved_most))
    every = table(("Fact", "before", "after", "likely per token"), map(_fact, found.facts))
    return f'<div class="bars">{bars}</div>{note}{moved}{_folded(f"All {len(found.facts)} facts", every)}'


def _bar(title: str, stay: int, n: int) -> str:
    return (
        f'<div class="kept {shares_state(stay, n)}"><span>{escape(title)}</span>'
        f'<span class="bar"><span style="width:{stay / n:.0%}"></span></span><b>{stay} of {n} stay</b></div>'
    )


def _fact(fact: KnownFact) -> tuple[str, str, str, str]:
    after = fact.answer if fact.stays else fact.said or "something else"
    said = escape(after) if fact.stays else f'<mark class="changed">{escape(after)}</mark>'
    return escape(fact.prompt), escape(fact.answer), said, f"{_percent(fact.before)} → {_percent(fact.after)}"


def neutral_text(found: NeutralText) -> str:
    """How far running text moved, and the passages, the most moved first."""
    ranked = sorted(found.passages, key=lambda passage: -passage.divergence)
    rows = [(escape(p.text), f"{p.before:.1f} → {p.after:.1f}", f"{p.divergence:.3f}") for p in ranked]
    return (
        f"<p>Text that the edit is not about reads {drift_words(found.divergence)}: the predictions "
        f"of the edited model are {found.divergence:.3f} nats a token away, and its perplexity goes from "
        f"{found.before:.1f} to {found.after:.1f} ({found.rise:+.1%}).</p>"
        + _folded("Each passage", table(("passage", "perplexity", "nats a token"), rows))
        + _folded("How far states move, block by block", _drift(found))
    )


def _drift(found: NeutralText) -> str:
    rows = [(str(i), f"{share:.1%}") for i, share in enumerate(found.drift)]
    return table(("block", "of the state's norm"), rows, wide=False)


def consequences(found: Consequences) -> str:
    """What should follow, one step behind the edit."""
    if not found.steps:
        return "<p>Nothing listed follows from this target one step on.</p>"
    follow = sum(step.follows for step in found.steps)
    rows = [
        (
            _sign(step.follows),
            escape(step.prompt),
            escape(step.before),
            escape(step.after),
            escape(step.expected),
        )
        for step in found.steps
    ]
    words = f"<p>{follow} of {len(rows)} answers that follow from the edit are given.</p>"
    return words + table(("", "prompt", "before", "after", "follows: would be"), rows)


def edited_back(found: EditedBack) -> str:
    """What the model says after the edit and an edit back."""
    if found.problem:
        return f"<p>{escape(found.problem)}</p>"
    rows = [
        (_sign(p.same), escape(p.prompt), escape(p.before), "as at first" if p.same else escape(p.after))
        for p in found.prompts
    ]
    words = (
        f"<p>Edited to the new answer and then back to “{escape(found.answer)}”: {found.same} of "
        f"{len(rows)} prompts are answered as at first."
        + ("" if found.same == len(rows) else " To have the base model back as it was, untick the edit.")
        + "</p>"
    )
    prompts = table(("", "prompt", "at first", "after both edits"), rows)
    return words + (_folded("Each prompt", prompts) if found.same == len(rows) else prompts)


def strengths(found: Strengths) -> str:
    """The strength from which on the target wins, and all strengths as a table."""
    if found.problem:
        return f"<p>{escape(found.problem)}</p>"
    at, strongest = found.crossover, found.points[-1].strength
    if at is None:
        won = found.points[0].target > found.points[0].old
        words = "The target is likelier at every strength." if won else (
            f"Up to strength {strongest:g} the target does not become likelier than the old answer."
        )  # fmt: skip
    else:
        words = f"The target becomes likelier than the old answer at strength <b>{at:.2f}</b>."
    rows = [
        (f"{p.strength:g}", _percent(p.target), _percent(p.old), f"{p.stay} of {found.beside}")
        for p in found.points
    ]
    if gentle := found.gentlest:
        stay = f", and {gentle.stay} of {found.beside} facts beside it stay" if found.beside else ""
        words += f" At <b>{gentle.strength:g}</b> it is {_percent(gentle.target)} likely per token{stay}."
    return f"<p>{words}</p>" + _folded(
        "Each strength", table(("strength", "target", "old answer", "facts beside it stay"), rows, wide=False)
    )


def layers(found: Layers) -> str:
    """Where the new answer overtakes the old one, and every block as a table."""
    first = next(
        (b.block for b in found.blocks if b.target_after > max(b.old_after if found.old else 0, 0.1)), None
    )
    words = (
        "The new answer leads behind no block."
        if first is None
        else f"In the edited model the new answer leads from block <b>{first}</b> of {len(found.blocks)} on."
    )
    old = f"“{escape(found.old)}”" if found.old else "old answer"
    rows = [
        (str(b.block), *(_percent(p) for p in (b.target_before, b.target_after, b.old_before, b.old_after)))
        for b in found.blocks
    ]
    head = ("block", f"“{found.target}” before", "after", f"{old} before", "after")
    return f"<p>{words}</p>" + _folded("Every block", table(head, rows, wide=False))


def traced(found: Traced) -> str:
    """Which state brings the answer back, and the grid as a table."""
    if found.problem:
        return f"<p>{escape(found.problem)}</p>"
    last = found.subject[1] - 1
    ends = [(row[last], block) for block, row in zip(found.blocks, found.share)]
    best, block = max(ends)
    words = (
        f"<p>Noise on the subject takes “{escape(found.answer)}” from {_percent(found.clean)} to "
        f"{_percent(found.noised)}. One state put back at the subject’s last token "
        f"(“{escape(found.tokens[last])}”) returns at most <b>{max(best, 0):.0%}</b> of that, behind "
        f"block {block}.</p>"
    )
    rows = [(str(block), *(f"{share:.0%}" for share in row)) for block, row in zip(found.blocks, found.share)]
    return words + _folded("Every state", table(("block", *found.tokens), rows))


def nearest(found: NearestEdits) -> str:
    """The reference edits with the likest directions, and what became of each."""
    if found.problem:
        return f"<p>{escape(found.problem)}</p>"
    hold, same = sum(e.holds for e in found.edits), sum(e.same for e in found.edits)
    n = len(found.edits)
    rows = [
        (
            escape(f"{e.prompt} → {e.target}"),
            f"{e.cosine:.2f}",
            f"{_sign(e.holds)} {_percent(e.likelihood)}",
            f"{_sign(e.same)} {escape(e.before)}" + ("" if e.same else f" → {escape(e.after)}"),
        )
        for e in found.edits
    ]
    words = (
        f"<p>Of the {n} nearest of {found.references} reference edits {hold} hold when they are made alone "
        f"by the same method, and {same} of their prompts are answered as before under this edit.</p>"
    )
    head = ("reference edit", "cosine", "made alone", "its prompt now")
    return words + table(head, rows)


def _sign(good: bool) -> str:
    return '<span class="yes">✓</span>' if good else '<span class="no">✗</span>'


def _percent(p: float) -> str:
    return "under 0.1%" if p < 0.001 else f"{p:.1%}"


TITLES: dict[type, tuple[str, Callable[..., str]]] = {
    Knowledge: ("What it knew, and still knows", knowledge),
    NeutralText: ("Running text", neutral_text),
    Consequences: ("What should follow", consequences),
    EditedBack: ("There and back", edited_back),
    Strengths: ("How strong it has to be", strengths),
    Layers: ("Block by block", layers),
    Traced: ("Where the base model’s answer comes from", traced),
    NearestEdits: ("Edits that point the same way", nearest),
}


def section(finding: Finding) -> str:
    """A finding under its title."""
    title, draw = TITLES[type(finding)]
    return f'<section class="finding"><h3>{title}</h3>{draw(finding)}</section>'
