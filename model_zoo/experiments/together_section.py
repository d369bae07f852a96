"""The part of docs/METHODS.md about many edits in one model: what holds of them, and how that falls with
their number.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ..evaluation.metrics import RISE
from ..palette import BLUE, GREEN, LIGHT, VERMILION, WHITE
from .render import METRICS
from .tables import Rows, methods_of, titled

FIGURE = "together.svg"
RISES = ", and in brackets how far the perplexity of running text rises (`--prose FILE`)"
LINES = dict(zip(METRICS, (BLUE, VERMILION, GREEN), strict=True))  # the figure's lines, by metric
WIDTH, HEIGHT, GAP, ACROSS = 190, 110, 56, 3  # of a method's small chart; so many beside each other


def section(rows: Rows, folder: str) -> str:
    """The table, and the figure in `folder` where several numbers of edits were measured; of one task."""
    rows = _of_one_task(rows)
    several = [row for row in rows if row["together"] != "1"]
    task = several[0]["task"]
    rises = any(row["metric"] == RISE for row in several)
    columns = sorted({_column(row) for row in several})
    head = [
        "method",
        *(f"{n or 'all'} {'one after another' if order else 'at once'}" for n, order in columns),
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in methods_of(several):
        cells = []
        for column in columns:
            own = {row["metric"]: float(row["mean"]) for row in _generated(several, name, column)}
            held = " / ".join(f"{own[m]:.0%}" if m in own else "" for m in METRICS) if own else ""
            cells.append(f"{held} ({own[RISE]:+.0%})" if RISE in own else held)
        lines.append(f"| {' | '.join([titled(name), *cells])} |")
    picture = f"\n\n![The shares over the number of edits]({folder}/{FIGURE})"
    return (
        f"## Many edits in one model\n\nReliability / generality / locality, generated, of edits of {task} "
        f"that live together{RISES if rises else ''}: the command above with `--together N` and "
        f"`--one-after-another`, on {_measured(several)}.\n\n"
        + "\n".join(lines)
        + (picture if _curves(rows) else "")
    )


def figure(rows: Rows) -> str:
    """One small chart per method (SVG): each metric's share over the number of edits that live together;
    nothing where no method was measured with several numbers.
    """
    curves = _curves(_of_one_task(rows))
    if not curves:
        return ""
    sizes = sorted({size for own in curves.values() for points in own.values() for size, _ in points})
    down = math.ceil(len(curves) / ACROSS)
    total = 44 + ACROSS * (WIDTH + GAP), 36 + down * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" '
        'font-family="system-ui,sans-serif" font-size="13">',
        f'<rect width="{total[0]}" height="{total[1]}" fill="{WHITE}"/>',
    ]
    for i, (metric, colour) in enumerate(LINES.items()):
        parts.append(_text(44 + 110 * i, 18, metric, colour, 'font-weight="600"'))
    for i, (name, own) in enumerate(curves.items()):
        left, top = 44 + i % ACROSS * (WIDTH + GAP), 56 + i // ACROSS * (HEIGHT + GAP)
        parts += _chart(left, top, titled(name).split(" (")[0], own, sizes)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(left: int, top: int, title: str, own: Mapping[str, list], sizes: Sequence[int]) -> list[str]:
    """A method's chart: the number of edits to the right, by factors of ten; the share upwards."""
    parts = [_text(left, top - 8, title, LIGHT.ink)]
    across = lambda size: left + WIDTH * math.log(size) / math.log(max(sizes))  # noqa: E731
    upwards = lambda share: top + HEIGHT * (1 - share)  # noqa: E731
    for share in (0, 0.5, 1):
        y = upwards(share)
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y}" y2="{y}" stroke="{LIGHT.line}"/>')
        parts.append(_text(left - 6, y + 4, f"{share:.0%}", LIGHT.soft, 'text-anchor="end" font-size="10"'))
    for size in sizes:
        look = 'text-anchor="middle" font-size="10"'
        parts.append(_text(across(size), top + HEIGHT + 14, f"{size}", LIGHT.soft, look))
    for metric, points in own.items():
        places = [(across(size), upwards(share)) for size, share in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour = LINES[metric]
        if len(points) > 1:
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return parts


def _text(x: float, y: float, words: str, colour: str, look: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{look and f" {look}"}>{words}</text>'


def _curves(rows: Rows) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By method and metric: (edits made at once, share), for methods of which several numbers were
    measured.
    """
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in methods_of(rows):
        columns = sorted({_column(row) for row in rows if row["method"] == name})
        own: dict[str, list[tuple[int, float]]] = {}
        for size, order in columns:
            for row in _generated(rows, name, (size, order)):
                if row["metric"] in METRICS and size and not order:
                    own.setdefault(row["metric"], []).append((size, float(row["mean"])))
        if any(len(dict(points)) > 1 for points in own.values()):
            found[name] = {metric: own[metric] for metric in METRICS if metric in own}
    return found


def _measured(rows: Rows) -> str:
    """How many edits were measured in stacks of which size."""
    most: dict[int, int] = {}
    for row in rows:
        if row["metric"] == "reliability":
            most[_column(row)[0]] = max(int(row["n"]), most.get(_column(row)[0], 0))
    return ", ".join(f"{n} edits in stacks of {size or n}" for size, n in sorted(most.items()))


def _of_one_task(rows: Rows) -> Rows:
    """The rows of the task of which most were measured together."""
    counted = Counter(row["task"] for row in rows if row["together"] != "1")
    return [row for row in rows if row["task"] == counted.most_common(1)[0][0]] if counted else []


def _column(row: Mapping[str, str]) -> tuple[int, bool]:
    return int(row["together"]), row["one_after_another"] == "True"


def _generated(rows: Rows, name: str, column: tuple[int, bool]) -> Rows:
    return [
        row
        for row in rows
        if row["method"] == name and row["score"] == "generated" and _column(row) == column
    ]
