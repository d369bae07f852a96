"""The Compare tab's table. Everything that a person or a model wrote is escaped."""

from collections.abc import Sequence
from html import escape

from model_zoo.comparing import Compared, share
from model_zoo.request import EditRequest

from .html import changed_words, percent

_HEAD = (
    ("Method", ""),
    ("What the model says", ""),
    ("Target", "how likely the whole target is behind the prompt"),
    ("Follow", "other wordings that say the target"),
    ("Stay", "prompts around the edit whose answer stayed"),
    ("Drift", "nats per token by which neutral text moves away from the base model"),
    ("Seconds", "to make the edit"),
    ("Kept", "numbers that the edit keeps"),
)
_LISTED = ("List", "edits of the list that hold with it in one model")


def compared(request: EditRequest, rows: Sequence[Compared]) -> str:
    """One row per method: the text with what changed lit, and the figures beside it."""
    columns = (*_HEAD, _LISTED) if any(row.listed[1] for row in rows) else _HEAD
    head = "".join(f'<th title="{escape(about)}">{escape(name)}</th>' for name, about in columns)
    before = next((row.before for row in rows if not row.problem), "")
    base = (
        f'<tr class="base"><th>Before</th><td class="says">{escape(before)}</td>'
        f'<td colspan="{len(columns) - 2}"></td></tr>'
    )
    return (
        f'<div class="compared" aria-live="polite"><p><span class="prompt">{escape(request.prompt)}</span> → '
        f"<b>{escape(request.target)}</b></p><div class='wide'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{base if before else ''}{''.join(_row(row, columns) for row in rows)}</tbody>"
        "</table></div></div>"
    )


def _row(row: Compared, columns: Sequence[tuple[str, str]]) -> str:
    if row.problem:
        return (
            f'<tr><th>{escape(row.title)}</th><td class="problem" colspan="{len(columns) - 1}">'
            f"{escape(row.problem)}</td></tr>"
        )
    sign = '<span class="yes">✓</span>' if row.held else '<span class="no">✗</span>'
    note = " <small>repeats itself</small>" if row.degenerate else ""
    figures = (
        percent(row.probability),
        share(*row.follows) or "none asked",
        share(*row.stays) or "none asked",
        f"{row.drift:.3f}",
        f"{row.seconds:.1f}",
        f"{row.kept:,}" if row.kept else "text",
        share(*row.listed),
    )
    return (
        f"<tr><th>{escape(row.title)}</th>"
        f'<td class="says">{sign} {changed_words(row.before, row.after)}{note}</td>'
        f"{''.join(_figure(name, figure) for (name, _), figure in zip(columns[2:], figures))}</tr>"
    )


def _figure(name: str, figure: str) -> str:
    return f'<td data-label="{escape(name)}">{escape(figure)}</td>'
