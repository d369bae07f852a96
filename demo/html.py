"""Plain data -> HTML fragments. Everything that a person or a model wrote is escaped."""

import difflib
import re
from collections.abc import Sequence
from html import escape

from model_zoo.changes import Effect
from model_zoo.events import KNOWN, Check, Probabilities, Reached, TextSoFar, Verdicts
from model_zoo.inspecting.fragments import drift_state, drift_words
from model_zoo.request import EditRequest
from model_zoo.scopes import Kind

_WORDS = re.compile(r"\s+|[^\s]+")
NOTHING = "<i>says nothing</i>"
_SOURCES = {
    "record": "from the edit's own record",
    "atlas": "from the atlas, the world this model was taught",
    "facts": "from a list of well-known facts",
    "generic": "generic frames: this wording is in no list of known facts",
}


_SIGNS = {
    True: '<span class="yes" title="held">✓</span>',
    False: '<span class="no" title="did not hold">✗</span>',
    None: '<span class="open" title="open text: how far it moved">~</span>',
}
_OPEN = (
    "Open texts are not judged: any edit moves them a little. Their drift is the KL divergence from "
    "the base model per token."
)


def waiting(text: str) -> str:
    """Shown instead of the verdicts until they are known."""
    return f'<div class="verdicts waiting"><p>{escape(text)}</p></div>'


def note(text: str) -> str:
    """A sentence that says what can be seen here, and what not."""
    return f'<p class="note">{escape(text)}</p>'


def contradicts(labels: Sequence[str]) -> str:
    """Other edits that are on and give the same fact another answer."""
    if not labels:
        return ""
    listed = ", ".join(f"“{escape(label)}”" for label in labels)
    return (
        f'<p class="repeats">{listed} is on too, and one fact cannot have two answers: untick one in the '
        "list below.</p>"
    )


def loading(text: str, busy: bool = True) -> str:
    """How far a loading is; with a moving line while it is going on."""
    line = '<span class="busy"></span>' if busy else ""
    return f'<div class="loading" role="status"><p>{escape(text)}</p>{line}</div>'


def terms(model: str, title: str, url: str) -> str:
    """What a person is asked to read before a model is fetched."""
    link = f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(title)}</a>'
    return (
        f'<div class="terms"><p><b>{escape(model)} comes with terms of use</b></p>'
        f"<p>Read the {link} before it is fetched. Its weights come straight from the package index to "
        "this machine and are never redistributed here.</p></div>"
    )


def changed_words(before: str, after: str) -> str:
    """`after` with the words that `before` does not have in place underlined and lit."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    parts = []
    for op, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        text = escape("".join(new[start:end]))
        parts.append(text if op == "equal" or not text.strip() else f'<mark class="changed">{text}</mark>')
    return "".join(parts)


def _before_to_after(before: str, after: str) -> str:
    said = changed_words(before, after) if after.strip() else NOTHING
    return f'<span class="was">{escape(before)}</span> → {said}'


# ---- before and after --------------------------------------------------------------------------------------

_REPEATS = (
    '<p class="repeats">The edited text repeats itself: this edit is too strong. '
    "A lower strength may help.</p>"
)


def before_after(request: EditRequest, text: TextSoFar, likely: Probabilities | None = None) -> str:
    """The hero: the same prompt continued by both models, only the change lit."""
    chances = (likely.before, likely.after) if likely else (None, None)
    before, after = escape(text.before), changed_words(text.before, text.after)
    return (
        '<div class="pair" aria-live="polite">'
        + _column("before", "Before", request.prompt, before, request.target, chances[0])
        + _column("after", "After", request.prompt, after, request.target, chances[1])
        + "</div>"
        + (_REPEATS if likely and text.degenerate else "")
        + (note(KNOWN) if likely and likely.known else "")
    )


def _column(kind: str, title: str, prompt: str, text: str, target: str, probability: float | None) -> str:
    empty = '<span class="caret"></span>' if probability is None else NOTHING
    return (
        f'<section class="side side-{kind}"><h3>{title}</h3>'
        f'<p class="said"><span class="prompt">{escape(prompt)}</span> '
        f'<span class="answer">{text or empty}</span></p>{_chance(target, probability)}</section>'
    )


def _chance(target: str, probability: float | None) -> str:
    """How likely the target is, as a bar and in words; an empty line until that is known."""
    if probability is None:
        return '<div class="chance chance-empty">&nbsp;</div>'
    width = max(probability, 0.004) * 100
    return (
        f'<div class="chance"><span class="bar"><span style="width:{width:.1f}%"></span></span>'
        f"<span>“{escape(target)}” is <b>{percent(probability)}</b> likely</span></div>"
    )


def percent(p: float) -> str:
    return "under 0.1%" if p < 0.001 else "over 99.9%" if p > 0.999 else f"{p:.1%}"


def asked(prompt: str, before: str, after: str) -> str:
    """A question put to both models, and both answers."""
    same = "Both answer alike." if before == after else "The answers differ."
    return (
        f'<div class="asked" aria-live="polite"><p class="prompt">{escape(prompt)}</p>'
        f"<div><p><small>Before</small> {escape(before) or '…'}</p>"
        f"<p><small>After</small> {changed_words(before, after) or '…'}</p></div>"
        f'<p class="source">{same}</p></div>'
    )


# ---- verdicts ----------------------------------------------------------------------------------------------


def verdicts(found: Verdicts) -> str:
    """Whether the edit holds in other words, and whether the rest stayed."""
    holds = _verdict(
        "Does it hold when asked differently? <small>(generality)</small>",
        found.generality,
        "Every other wording gives the new answer.",
        "Some wordings still miss it. A higher strength may help.",
    )
    stays = _verdict(
        "Did everything else stay as it was? <small>(locality)</small>",
        found.stay,
        "The neighbouring prompts answer as before.",
        "Some neighbours changed too. A lower strength may help.",
    )
    return f'<div class="verdicts">{holds}{stays}{_open_texts(found)}</div>'


def _open_texts(found: Verdicts) -> str:
    """How far texts without a short answer moved; nothing where none were asked."""
    if not found.open_texts:
        return ""
    return (
        f'<section class="verdict {drift_state(found.drift)}"><header>'
        "<h3>Does unrelated text read as before? <small>(drift)</small></h3>"
        f'<b class="score">{found.drift:.2f} nats a token</b></header>'
        f"<p>It reads {drift_words(found.drift)}.</p><details><summary>Each text, before and after</summary>"
        f'<ul class="checks">{"".join(map(_check_row, found.open_texts))}</ul>'
        f'<p class="source">{_OPEN}</p></details></section>'
    )


def _verdict(title: str, checks: Sequence[Check], all_held: str, some_failed: str) -> str:
    held = sum(bool(check.held) for check in checks)
    state = "good" if held == len(checks) else "bad" if held == 0 else "mixed"
    source = _SOURCES.get(checks[0].source, f"from {checks[0].source}") if checks else ""
    return (
        f'<section class="verdict {state}"><header><h3>{title}</h3>'
        f'<b class="score">{held} of {len(checks)}</b></header>'
        f"<p>{all_held if held == len(checks) else some_failed}</p>"
        f"<details{' open' if held < len(checks) else ''}>"
        "<summary>Each prompt, before and after</summary>"
        f'<ul class="checks">{"".join(map(_check_row, checks))}</ul>'
        f'<p class="source">Prompts {source}.</p></details></section>'
    )


def _check_row(check: Check) -> str:
    same = check.before == check.after
    said = f"{escape(check.after)} <i>unchanged</i>" if same else _before_to_after(check.before, check.after)
    drift = "" if check.drift is None else f" <i>{_far(check.drift, same)}</i>"
    return (
        f'<li>{_SIGNS[check.held]}<span class="prompt">{escape(check.prompt)}</span>'
        f'<span class="said-small">{said}{drift}</span></li>'
    )


def _far(drift: float, same: bool) -> str:
    """How far open text is from the base's, in words, if its beginning is not the same, and nats."""
    if same:
        return f"({drift:.2f} nats a token)"
    return f"{drift_words(drift)} ({drift:.2f} nats a token)"


# ---- what changed in the model -----------------------------------------------------------------------------


def what_changed(
    words: str, changes: Sequence[Effect], method: str, seconds: float | None, edits_on: int
) -> str:
    """One sentence, and the numbers of every matrix behind it; `words` say what an edit does that changes
    none.
    """
    if not changes:
        return _no_weight_changed(words, method, seconds, edits_on)
    rank, largest = max(c.rank for c in changes), max(changes, key=lambda c: c.relative)
    matrices = f"{len(changes)} {'matrix' if len(changes) == 1 else 'matrices'}"
    took = "" if seconds is None else f"in {seconds * 1000:.0f} ms "
    together = f" {edits_on} edits are on together." if edits_on > 1 else ""
    return (
        f'<section class="changes"><p><b>What changed:</b> {matrices}, rank {rank} at most, '
        f"{took}by {escape(method)}. Largest change: {largest.relative:.1%} of the norm of "
        f"{escape(largest.module)}.{together}</p>"
        "<details><summary>Every matrix</summary><table><thead><tr>"
        "<th>matrix</th><th>rank</th><th>‖ΔW‖</th><th>‖ΔW‖ / ‖W‖</th></tr></thead>"
        f"<tbody>{''.join(map(_matrix_row, changes))}</tbody></table></details></section>"
    )


def _no_weight_changed(words: str, method: str, seconds: float | None, edits_on: int) -> str:
    took = "" if seconds is None else f"in {seconds * 1000:.0f} ms "
    together = f" {edits_on} edits are on together." if edits_on > 1 else ""
    return (
        f'<section class="changes"><p><b>What changed:</b> no weight; {took}{escape(method)} '
        f"{escape(words)}.{together}</p></section>"
    )


def _matrix_row(c: Effect) -> str:
    return (
        f"<tr><td>{escape(c.module)}</td><td>{c.rank}</td><td>{c.norm:.3f}</td><td>{c.relative:.2%}</td></tr>"
    )


# ---- scope -------------------------------------------------------------------------------------------------

_KINDS: dict[Kind, str] = {
    "itself": "The sentence itself",
    "rewording": "In other words",
    "alias": "Under another name",
    "implied": "What follows from it",
    "category": "Others of its kind",
    "relation": "Other facts of it",
    "world": "Everything else",
}


def reach(reached: Sequence[Reached], side: int) -> str:
    """How many probes of each kind moved under one instruction, and each of them on request."""
    rows = []
    for kind, name in _KINDS.items():
        own = [r for r in reached if r.kind == kind]
        if own:
            moved = sum(r.moved[side] for r in own)
            rows.append(
                f'<details class="reach{" moved" if moved else ""}">'
                f"<summary><span>{name}</span><b>{moved} of {len(own)} moved</b></summary>"
                f'<ul class="checks">{"".join(_reach_row(r, side) for r in own)}</ul></details>'
            )
    return f'<div class="reaches" aria-live="polite">{"".join(rows)}</div>'


def _reach_row(r: Reached, side: int) -> str:
    moved = r.moved[side]
    said = _before_to_after(r.before, r.after[side]) if moved else f"{escape(r.before)} <i>unchanged</i>"
    return f'<li><span class="prompt">{escape(r.prompt)}</span><span class="said-small">{said}</span></li>'


def offered(edits: Sequence[str], n: int) -> str:
    """The edits that a browser kept, of which the first are given."""
    listed = "".join(f"<li>{escape(edit)}</li>" for edit in edits)
    more = f"<li>and {n - len(edits)} more</li>" if n > len(edits) else ""
    return (
        '<div class="read"><p>This is a new session: the page was reloaded, the server was restarted, or the '
        f"old session made room for others. Your browser kept your edits as text:</p><ul>{listed}{more}</ul>"
        "</div>"
    )
