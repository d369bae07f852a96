"""Rows of an experiment as a small Markdown table, as a figure, and whole as CSV. One `View` per kind of
rows; an experiment names its own.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..palette import BLUE, LIGHT, WHITE
from ..tasks import TASKS

METRICS = ("reliability", "generality", "locality")


@dataclass(frozen=True)
class Dot:
    """One value of a figure: the row's label, the panel, the value and its interval."""

    label: str
    panel: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class View:
    """How rows are shown: `table(rows)` in Markdown, `dots(rows)` for the figure, whose axis runs over
    `span`.
    """

    table: Callable[[Sequence[dict]], str]
    dots: Callable[[Sequence[dict]], list[Dot]]
    span: tuple[float, float] = (0.0, 1.0)
    number: str = "{:.0%}"


def _shown(rows: Sequence[dict]) -> list[dict]:
    """The rows of a table: of text that is generated; where a mood is wanted, whether it is voiced."""
    found: dict[tuple[str, str, str], dict] = {}
    for row in rows:
        key = (row["variant"], row["task"], row["metric"])
        better = row["score"] == "sentiment" or (row["score"] == "generated" and key not in found)
        if better and row["metric"] in METRICS:
            found[key] = row
    return list(found.values())


def averages(rows: Sequence[dict], held_out: bool = False) -> dict[str, dict[str, float]]:
    """Per variant each metric's mean over the trained tasks, or over those held out."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in _shown(rows):
        if TASKS[row["task"]].trained != held_out:
            found.setdefault(row["variant"], {}).setdefault(row["metric"], []).append(row["mean"])
    return {v: {metric: fmean(values) for metric, values in own.items()} for v, own in found.items()}


def overall(rows: Sequence[dict], held_out: bool = False) -> dict[str, float]:
    """Per variant the mean of its averages."""
    return {variant: fmean(own.values()) for variant, own in averages(rows, held_out).items()}


def _metric_table(rows: Sequence[dict]) -> str:
    trained, others = averages(rows), averages(rows, held_out=True)
    tasks = ", ".join(dict.fromkeys(row["task"] for row in _shown(rows) if not TASKS[row["task"]].trained))
    head = [*METRICS, *(f"{tasks}: {metric}" for metric in (METRICS if others else ()))]
    lines = [f"| variant | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for variant in dict.fromkeys([*trained, *others]):
        parts = [trained.get(variant, {}), *([others.get(variant, {})] if others else [])]
        cells = [f"{own[m]:.1%}" if m in own else "n/a" for own in parts for m in METRICS]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _geometry_table(rows: Sequence[dict]) -> str:
    lines = [
        "| directions | silhouette, full space | silhouette, two components | variance of two components | n "
        "|",
        "|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['variant']} | {r['silhouette_full']:+.3f} | {r['silhouette_plane']:+.3f} | "
            f"{r['explained_two']:.1%} | {r['n']} |"
        )
    return "\n".join(lines)


def _metric_dots(rows: Sequence[dict]) -> list[Dot]:
    return [
        Dot(f"{r['variant']}, {r['task']}", r["metric"], r["mean"], r["low"], r["high"]) for r in _shown(rows)
    ]


def _geometry_dots(rows: Sequence[dict]) -> list[Dot]:
    panels = (
        ("silhouette, full space", "silhouette_full"),
        ("silhouette, two components", "silhouette_plane"),
    )
    return [Dot(r["variant"], panel, r[key], r[key], r[key]) for panel, key in panels for r in rows]


def _scope_table(rows: Sequence[dict]) -> str:
    lines = ["| variant | inside, changes as told | outside, changes | balanced score |", "|---|---|---|---|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        inside, outside = (fmean(r[p] for r in own if r[p] is not None) for p in ("inside", "outside"))
        lines.append(f"| {variant} | {inside:.1%} | {outside:.1%} | {own[0]['balanced']:.1%} |")
    return "\n".join(lines)


def _scope_dots(rows: Sequence[dict]) -> list[Dot]:
    panels = (("inside, changes as told", "inside"), ("outside, changes", "outside"))
    return [
        Dot(f"{r['variant']}, {r['scope']}", panel, r[key], *r[f"{key}_interval"])
        for panel, key in panels
        for r in rows
        if r[key] is not None
    ]


def _stack_table(rows: Sequence[dict]) -> str:
    sizes = list(dict.fromkeys(row["edits"] for row in rows))
    most, base = sizes[-1], rows[0]["base_perplexity"]
    held = " / ".join(map(str, sizes))
    lines = [
        f"| variant | of {held} edits hold | of {most} other wordings follow | others stay | perplexity "
        f"(base {base:.2f}) |",
        "|---|---|---|---|---|",
    ]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = {row["edits"]: row for row in rows if row["variant"] == variant}
        last = own[most]
        hold = " / ".join(f"{own[size]['reliability']:.0%}" for size in sizes)
        lines.append(
            f"| {variant} | {hold} | {last['generality']:.0%} | {last['locality']:.0%} | "
            f"{last['perplexity']:.2f} |"
        )
    return "\n".join(lines)


def _stack_dots(rows: Sequence[dict]) -> list[Dot]:
    return [Dot(f"{r['variant']}, {r['edits']}", m, r[m], *r[f"{m}_interval"]) for m in METRICS for r in rows]


METRIC_VIEW = View(_metric_table, _metric_dots)
GEOMETRY_VIEW = View(_geometry_table, _geometry_dots, (-0.2, 1.0), "{:+.2f}")
SCOPE_VIEW = View(_scope_table, _scope_dots)
STACK_VIEW = View(_stack_table, _stack_dots)


def as_csv(rows: Sequence[dict]) -> str:
    """All rows, one line each; lists and objects in a cell as JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})
    return out.getvalue()


def svg(view: View, rows: Sequence[dict]) -> str:
    """A small-multiples dot plot with intervals, one panel per metric, rows shared; drawn directly, so that
    no library is needed to see it.
    """
    dots, (low, high), number = view.dots(rows), view.span, view.number
    labels, panels = list(dict.fromkeys(d.label for d in dots)), list(dict.fromkeys(d.panel for d in dots))
    left = 28 + 7 * max(map(len, labels))  # no letter of this size is wider on average
    width, gap, line, top = 190, 56, 26, 44
    height, total = top + line * len(labels) + 24, left + (width + gap) * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" '
        'font-family="system-ui,sans-serif" font-size="13">',
        f'<rect width="{total}" height="{height}" fill="{WHITE}"/>',
    ]
    for j, label in enumerate(labels):
        parts.append(
            f'<text x="{left - 14}" y="{top + line * j + 5}" text-anchor="end" '
            f'fill="{LIGHT.ink}">{_plain(label)}</text>'
        )
    for i, panel in enumerate(panels):
        x0 = left + i * (width + gap)
        at = lambda value, x0=x0: x0 + width * (min(max(value, low), high) - low) / (high - low)  # noqa: E731
        parts.append(f'<text x="{x0}" y="18" font-weight="600" fill="{LIGHT.ink}">{_plain(panel)}</text>')
        for tick in (low, (low + high) / 2, high):
            parts.append(
                f'<line x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="{top - 14}" y2="{height - 24}" '
                f'stroke="{LIGHT.line}"/>'
            )
            parts.append(
                f'<text x="{at(tick):.1f}" y="{height - 8}" text-anchor="middle" '
                f'fill="{LIGHT.soft}" font-size="11">{number.format(tick)}</text>'
            )
        for dot in (d for d in dots if d.panel == panel):
            y = top + line * labels.index(dot.label)
            parts.append(
                f'<line x1="{at(dot.low):.1f}" x2="{at(dot.high):.1f}" y1="{y}" y2="{y}" '
                f'stroke="{BLUE}" stroke-width="2"/>'
            )
            parts.append(f'<circle cx="{at(dot.value):.1f}" cy="{y}" r="4.5" fill="{BLUE}"/>')
            parts.append(
                f'<text x="{at(dot.high) + 8:.1f}" y="{y + 4}" fill="{LIGHT.ink}" font-size="11">'
                f"{number.format(dot.value)}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
