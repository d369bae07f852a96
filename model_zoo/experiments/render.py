"""Rows of an experiment as a Markdown table and as a figure. One `View` per kind of rows; an experiment names
its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..palette import BLUE, LIGHT, WHITE

METRICS = ("reliability", "generality", "locality")
SCORES = {
    "generated": "generated exact match",
    "teacher_forced": "teacher-forced token accuracy",
    "sentiment": "the sentiment voiced, in whatever words",
}


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


def _metric_tables(rows: Sequence[dict]) -> str:
    parts = []
    for prompts in dict.fromkeys(row["prompts"] for row in rows):
        for score, label in SCORES.items():
            if picked := [row for row in rows if row["prompts"] == prompts and row["score"] == score]:
                parts.append(f"**Prompts {prompts}, {label}**\n\n{_table(picked)}\n")
    return "\n".join(parts)


def _table(rows: Sequence[dict]) -> str:
    lines = ["| variant | task | " + " | ".join(METRICS) + " | n |", "|---|---|---|---|---|---|"]
    for variant, task in dict.fromkeys((row["variant"], row["task"]) for row in rows):
        cells = {row["metric"]: row for row in rows if (row["variant"], row["task"]) == (variant, task)}
        n = next(iter(cells.values()))["n"]
        lines.append(
            f"| {variant} | {task} | "
            + " | ".join(_cell(cells.get(metric)) for metric in METRICS)
            + f" | {n} |"
        )
    return "\n".join(lines)


def _cell(row: dict | None) -> str:
    """Mean, interval, and the lowest and highest of several trainings."""
    if row is None:
        return "n/a"
    text = f"{row['mean']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
    each = row.get("trainings", [])
    return text + (f"; trainings {min(each):.1%} to {max(each):.1%}" if len(each) > 1 else "")


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
    return "\n".join(lines) + "\n"


def _metric_dots(rows: Sequence[dict]) -> list[Dot]:
    picked = [
        r for r in rows if r["score"] == "generated" and r["prompts"] == "plain" and r["metric"] in METRICS
    ]
    return [Dot(f"{r['variant']}, {r['task']}", r["metric"], r["mean"], r["low"], r["high"]) for r in picked]


def _geometry_dots(rows: Sequence[dict]) -> list[Dot]:
    panels = (
        ("silhouette, full space", "silhouette_full"),
        ("silhouette, two components", "silhouette_plane"),
    )
    return [Dot(r["variant"], panel, r[key], r[key], r[key]) for panel, key in panels for r in rows]


def _scope_table(rows: Sequence[dict]) -> str:
    lines = [
        "| variant | scope | inside, changes as told | outside, changes | right mood | n |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        mood = "n/a" if r["mood"] is None else f"{r['mood']:.1%}"
        lines.append(
            f"| {r['variant']} | {r['scope']} | {_cell(_part(r, 'inside'))} | {_cell(_part(r, 'outside'))} | "
            f"{mood} | {r['n']} |"
        )
    kinds = list(dict.fromkeys(kind for r in rows for kind in r["kinds"]))
    by_kind = [f"| variant | scope | {' | '.join(kinds)} |", "|---|---|" + "---|" * len(kinds)]
    for r in rows:
        cells = (
            f"{r['kinds'][kind][0]:.0%} of {r['kinds'][kind][1]}" if kind in r["kinds"] else ""
            for kind in kinds
        )
        by_kind.append(f"| {r['variant']} | {r['scope']} | {' | '.join(cells)} |")
    balanced = [
        f"| {variant} | {value:.1%} |"
        for variant, value in dict.fromkeys((r["variant"], r["balanced"]) for r in rows)
    ]
    ceiling = (
        f"The best balanced score of any policy that cannot read the instruction: {rows[0]['ceiling']:.1%}.\n"
    )
    probes = "By kind of probe, the share that did as the scope wants (changed so, or stayed):"
    return "\n".join(
        [
            *lines,
            "",
            "| variant | balanced score |",
            "|---|---|",
            *balanced,
            "",
            ceiling,
            probes,
            "",
            *by_kind,
            "",
        ]
    )


def _part(row: dict, part: str) -> dict | None:
    return (
        None
        if row[part] is None
        else {"mean": row[part], "low": row[f"{part}_interval"][0], "high": row[f"{part}_interval"][1]}
    )


def _scope_dots(rows: Sequence[dict]) -> list[Dot]:
    panels = (("inside, changes as told", "inside"), ("outside, changes", "outside"))
    return [
        Dot(f"{r['variant']}, {r['scope']}", panel, r[key], *r[f"{key}_interval"])
        for panel, key in panels
        for r in rows
        if r[key] is not None
    ]


def _stack_table(rows: Sequence[dict]) -> str:
    lines = [
        "| variant | edits at once | reliability | generality | locality | perplexity of the atlas' prose | "
        "stacks |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = " | ".join(_cell(_part(r, m)) for m in METRICS)
        lines.append(
            f"| {r['variant']} | {r['edits']} | {cells} | {r['perplexity']:.2f} (base "
            f"{r['base_perplexity']:.2f}) | {r['stacks']} |"
        )
    return "\n".join(lines) + "\n"


def _stack_dots(rows: Sequence[dict]) -> list[Dot]:
    return [Dot(f"{r['variant']}, {r['edits']}", m, r[m], *r[f"{m}_interval"]) for m in METRICS for r in rows]


METRIC_VIEW = View(_metric_tables, _metric_dots)
GEOMETRY_VIEW = View(_geometry_table, _geometry_dots, (-0.2, 1.0), "{:+.2f}")
SCOPE_VIEW = View(_scope_table, _scope_dots)
STACK_VIEW = View(_stack_table, _stack_dots)


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
