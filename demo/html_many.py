"""What is read of a file of edits, as HTML. Everything that a person wrote is escaped."""

from collections.abc import Sequence
from html import escape

from model_zoo.many import FilePlan


def refused(reason: str) -> str:
    """Why a file cannot be used."""
    return f'<div class="read"><p class="no">{escape(reason)}</p></div>'


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def what_was_read(plan: FilePlan) -> str:
    """What is read of a file, what is not and why, and which of its edits conflict."""
    loaded = plan.loaded
    parts = [
        f"<p><b>{_counted(len(plan.cases), 'edit')}</b> of {_counted(loaded.rows, 'row')} "
        f"({escape(loaded.format)}; "
        f"{escape(', '.join(loaded.shapes))}). Read: {escape(', '.join(loaded.fields))}.</p>"
    ]
    if loaded.unread:
        parts.append(f"<p>Nothing reads: {escape(', '.join(loaded.unread))}.</p>")
    for title, refused in (("Refused", True), ("Left out or changed", False)):
        problems = [problem for problem in loaded.skipped if problem.refused == refused]
        parts.append(_list(title, [f"{p.place}, {p.field}: {p.reason}" for p in problems]))
    if plan.beyond:
        parts.append(f"<p>Not taken: {plan.beyond} edits behind these.</p>")
    parts.append(_list("Conflicts", [conflict.in_words() for conflict in plan.conflicts]))
    return f'<div class="read">{"".join(parts)}</div>'


def _list(title: str, lines: Sequence[str]) -> str:
    """A list behind a click; the first hundred lines of it. Nothing where there are none."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[:100])
    return f"<details><summary>{escape(title)}: {len(lines)}</summary><ul>{items}</ul></details>"
