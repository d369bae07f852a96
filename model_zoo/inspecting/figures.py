"""Findings about the inside of the model -> figures as plain Plotly JSON; the same numbers stand in tables
beside them.
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from ..palette import BLUE, CLEAR, GREY, GRID, VERMILION
from .findings import Finding, Layers, Strengths, Traced

Figure = dict[str, Any]

_NEW, _OLD, _STAY = VERMILION, BLUE, GREY
_HEIGHT = 300
_MARGIN = {"l": 52, "r": 12, "t": 26, "b": 44}
COMMON = {
    "autosize": True,
    "paper_bgcolor": CLEAR,
    "plot_bgcolor": CLEAR,
    "font": {"color": GREY, "family": "system-ui, DejaVu Sans, sans-serif", "size": 13},
    "hoverlabel": {"align": "left", "font": {"size": 13}},
}


def figure(finding: Finding) -> Figure | None:
    """{data, layout} of a finding that is drawn; None for one that is not, or holds nothing to draw."""
    draw = FIGURES.get(type(finding))
    return draw(finding) if draw else None


def strengths(found: Strengths) -> Figure | None:
    """Target, old answer and the facts beside them, at every strength; the crossover is marked. None where
    there is but one strength.
    """
    if not found.points:
        return None
    xs = [point.strength for point in found.points]
    lines = [
        _line(xs, [p.target for p in found.points], "the target", _NEW),
        _line(xs, [p.old for p in found.points], "the old answer", _OLD),
    ]
    if found.beside:
        stay = [p.stay / found.beside for p in found.points]
        lines.append(_line(xs, stay, "facts beside it that stay", _STAY, "dot"))
    layout = _layout("strength")
    if (at := found.crossover) is not None:
        mark = {"color": GREY, "width": 1, "dash": "dash"}
        layout["shapes"] = [
            {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": mark}
        ]
        font = {"color": GREY, "size": 12}
        layout["annotations"] = [{"x": at, "y": 1.08, "text": f"{at:.2f}", "showarrow": False, "font": font}]
    return {"data": lines, "layout": layout}


def layers(found: Layers) -> Figure:
    """Both answers behind every block, before (dotted) and after."""
    xs, blocks, lines = [b.block for b in found.blocks], found.blocks, []
    for name, colour, before, after in (
        (found.target, _NEW, [b.target_before for b in blocks], [b.target_after for b in blocks]),
        (found.old, _OLD, [b.old_before for b in blocks], [b.old_after for b in blocks]),
    ):
        if name:
            lines.append(_line(xs, before, f"{name}, before", colour, "dot"))
            lines.append(_line(xs, after, f"{name}, after", colour))
    return {"data": lines, "layout": _layout("behind block")}


def traced(found: Traced) -> Figure | None:
    """How much of the answer each restored state brings back: tokens down, blocks across. None where nothing
    was traced.
    """
    if not found.share:
        return None
    start, end = found.subject
    tokens = [escaped(token) for token in found.tokens]
    names = [f"{token} ◂" if start <= i < end else token for i, token in enumerate(tokens)]
    grid = {
        "type": "heatmap",
        "x": [str(block) for block in found.blocks],
        "y": list(range(len(names))),
        "z": [[row[i] for row in found.share] for i in range(len(names))],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "rgba(0,114,178,0.04)"], [1, BLUE]],
        "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        "hovertemplate": "block %{x}: %{z:.0%} comes back<extra></extra>",
    }
    y = {**_axis(""), "tickvals": grid["y"], "ticktext": names, "autorange": "reversed"}
    layout = {
        **COMMON,
        "height": max(220, 28 * len(names) + 90),
        "margin": _MARGIN | {"l": 110},
        "xaxis": _axis("state put back behind block"),
        "yaxis": y,
    }
    return {"data": [grid], "layout": layout}


FIGURES: dict[type, Callable[[Any], Figure | None]] = {
    Strengths: strengths,
    Layers: layers,
    Traced: traced,
}


def escaped(text: str) -> str:
    """A text inside Plotly's markup, which knows no entity for quotes and would show it."""
    return escape(text, quote=False)


def _line(xs: Sequence, ys: Sequence, name: str, colour: str, dash: str = "solid") -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(xs),
        "y": list(ys),
        "name": escaped(name),
        "line": {"color": colour, "width": 2, "dash": dash},
        "hovertemplate": f"%{{y:.1%}} {escaped(name)}<extra></extra>",
    }


def _axis(title: str) -> Figure:
    heading = {"text": title, "font": {"size": 13}}
    return {"title": heading, "gridcolor": GRID, "zeroline": False, "fixedrange": True}


def _layout(x: str) -> Figure:
    shares = {"range": [0, 1.12], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]}
    return {
        **COMMON,
        "height": _HEIGHT,
        "margin": _MARGIN,
        "xaxis": _axis(x),
        "yaxis": {**_axis(""), **shares},
        "legend": {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0},
        "dragmode": False,
    }
