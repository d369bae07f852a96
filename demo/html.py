"""Plain data -> HTML fragments. Everything that a person or a model wrote is escaped."""

import difflib
import re
from collections.abc import Sequence
from html import escape

from model_zoo.scopes import Kind
from model_zoo.studio import Change, Check, Reached

_WORDS = re.compile(r"\s+|[^\s]+")
_SOURCES = {
    "record": "from the edit's own record",
    "atlas": "from the atlas, the world this model was taught",
    "generic": "generic frames: this wording is not in the atlas",
}


def changed_words(before: str, after: str) -> str:
    """`after` with the words that `before` does not have in place underlined and lit."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    parts = []
    for op, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        text = escape("".join(new[start:end]))
        parts.append(text if op == "equal" or not text.strip() else f'<mark class="changed">{text}</mark>')
    return "".join(parts)


def percent(p: float) -> str:
    return "under 0.1%" if p < 0.001 else "over 99.9%" if p > 0.999 else f"{p:.1%}"


def _column(kind: str, title: str, prompt: str, text: str, target: str, probability: float | None) -> str:
    chance = '<div class="chance chance-empty">&nbsp;</div>'
    waiting = '<span class="caret"></span>' if probability is None else "<i>says nothing</i>"
    if probability is not None:
        chance = (
            f'<div class="chance"><span class="bar"><span style="width:{max(probability, 0.004) * 100:.1f}%"></span></span>'
            f"<span>“{escape(target)}” is <b>{percent(probability)}</b> likely</span></div>"
        )
    return (
        f'<section class="side side-{kind}"><h3>{title}</h3><p class="said"><span class="prompt">{escape(prompt)}</span> '
        f'<span class="answer">{text or waiting}</span></p>{chance}</section>'
    )


def before_after(prompt: str, target: str, before: str, after: str, probability: dict[str, float] | None = None) -> str:
    """The hero: the same prompt continued by both models, only the change lit."""
    chance = probability or {"before": None, "after": None}
    return (
        '<div class="pair" aria-live="polite">'
        + _column("before", "Before", prompt, escape(before), target, chance["before"])
        + _column("after", "After", prompt, changed_words(before, after), target, chance["after"])
        + "</div>"
    )


def _check_row(check: Check) -> str:
    mark = '<span class="yes" title="held">✓</span>' if check.held else '<span class="no" title="did not hold">✗</span>'
    if check.before == check.after:
        said = f"{escape(check.after)} <i>unchanged</i>"
    else:
        said = f'<span class="was">{escape(check.before)}</span> → {changed_words(check.before, check.after)}'
    return f'<li>{mark}<span class="prompt">{escape(check.prompt)}</span><span class="said-small">{said}</span></li>'


def _verdict(title: str, term: str, checks: Sequence[Check], all_held: str, some_failed: str) -> str:
    held = sum(check.held for check in checks)
    state = "good" if held == len(checks) else "bad" if held == 0 else "mixed"
    source = _SOURCES[checks[0].source] if checks else ""
    return (
        f'<section class="verdict {state}"><header><h3>{title} <small>({term})</small></h3>'
        f'<b class="score">{held} of {len(checks)}</b></header><p>{all_held if held == len(checks) else some_failed}</p>'
        f"<details{' open' if held < len(checks) else ''}><summary>Each prompt, before and after</summary>"
        f'<ul class="checks">{"".join(map(_check_row, checks))}</ul><p class="source">Prompts {source}.</p></details></section>'
    )


def verdicts(generality: Sequence[Check], locality: Sequence[Check]) -> str:
    return (
        '<div class="verdicts">'
        + _verdict(
            "Does it hold when asked differently?", "generality", generality,
            "Every other wording gives the new answer.", "Some wordings still miss it. A higher strength may help.",
        )
        + _verdict(
            "Did everything else stay as it was?", "locality", locality,
            "The neighbouring prompts answer as before.", "Some neighbours changed too. A lower strength may help.",
        )
        + "</div>"
    )  # fmt: skip


def waiting(text: str) -> str:
    return f'<div class="verdicts waiting"><p>{escape(text)}</p></div>'


def what_changed(changes: Sequence[Change], method: str, seconds: float | None, edits_on: int) -> str:
    """One sentence, and the numbers of every matrix behind it."""
    rank, largest = max(c.rank for c in changes), max(changes, key=lambda c: c.relative)
    rows = "".join(f"<tr><td>{escape(c.module)}</td><td>{c.rank}</td><td>{c.norm:.3f}</td><td>{c.relative:.2%}</td></tr>" for c in changes)
    took = "" if seconds is None else f"in {seconds * 1000:.0f} ms "
    together = f" {edits_on} edits are on together." if edits_on > 1 else ""
    return (
        f'<section class="changes"><p><b>What changed:</b> {len(changes)} {"matrix" if len(changes) == 1 else "matrices"}, rank {rank} at most, '
        f"{took}by {escape(method)}. Largest change: {largest.relative:.1%} of the norm of "
        f"{escape(largest.module)}.{together}</p>"
        f"<details><summary>Every matrix</summary><table><thead><tr><th>matrix</th><th>rank</th><th>‖ΔW‖</th><th>‖ΔW‖ / ‖W‖</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details></section>"
    )


def asked(prompt: str, before: str, after: str) -> str:
    """An own question put to both models."""
    same = "Both answer alike." if before == after else "The answers differ."
    return (
        f'<div class="asked" aria-live="polite"><p class="prompt">{escape(prompt)}</p><div><p><small>Before</small> {escape(before) or "…"}</p>'
        f'<p><small>After</small> {changed_words(before, after) or "…"}</p></div><p class="source">{same}</p></div>'
    )


_KINDS: dict[Kind, str] = {
    "itself": "The sentence itself", "rewording": "In other words", "alias": "Under another name", "implied": "What follows from it",
    "category": "Others of its kind", "relation": "Other facts of it", "world": "Everything else",
}  # fmt: skip


def reach(reached: Sequence[Reached], side: int) -> str:
    """How many probes of each kind moved under one instruction, and each of them on request."""
    rows = []
    for kind, name in _KINDS.items():
        own = [r for r in reached if r.kind == kind]
        if own:
            moved = sum(r.moved[side] for r in own)
            rows.append(
                f'<details class="reach{" moved" if moved else ""}"><summary><span>{name}</span><b>{moved} of {len(own)} moved</b></summary>'
                f'<ul class="checks">{"".join(_reach_row(r, side) for r in own)}</ul></details>'
            )
    return f'<div class="reaches" aria-live="polite">{"".join(rows)}</div>'


def _reach_row(r: Reached, side: int) -> str:
    before, after = r.before, r.after[side]
    said = f'<span class="was">{escape(before)}</span> → {changed_words(before, after)}' if r.moved[side] else f"{escape(before)} <i>unchanged</i>"
    return f'<li><span class="prompt">{escape(r.prompt)}</span><span class="said-small">{said}</span></li>'
