"""Findings about the inside of the model -> Plotly figures. Pure functions; the same figures stand in tables
beside them.
"""

from typing import Any

import plotly.graph_objects as go

from model_zoo.inspecting.findings import Layers, Strengths, Traced
from model_zoo.palette import BLUE, GREY, GRID

from .plots import COMMON
from .theme import OWN_COLOUR

_NEW, _OLD, _STAY = OWN_COLOUR, BLUE, GREY
_HEIGHT = 300
_MARGIN = {"l": 52, "r": 12, "t": 26, "b": 44}


def strengths_figure(found: Strengths) -> go.Figure | None:
    """Target, old answer and the facts beside them, at every strength; the crossover is marked. None where
    there is but one strength.
    """
    if not found.points:
        return None
    xs = [point.strength for point in found.points]
    figure = go.Figure(
        [
            _line(xs, [p.target for p in found.points], "the target", _NEW),
            _line(xs, [p.old for p in found.points], "the old answer", _OLD),
        ]
    )
    if found.beside:
        stay = [p.stay / found.beside for p in found.points]
        figure.add_trace(_line(xs, stay, "facts beside it that stay", _STAY, "dot"))
    if (at := found.crossover) is not None:
        figure.add_vline(x=at, line={"color": GREY, "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=at, y=1.08, text=f"{at:.2f}", showarrow=False, font={"color": GREY, "size": 12}
        )
    return _laid_out(figure, "strength")


def lens_figure(found: Layers) -> go.Figure:
    """Both answers behind every block, before (thin) and after."""
    xs = [b.block for b in found.blocks]
    figure = go.Figure()
    for name, colour, before, after in (
        (found.target, _NEW, [b.target_before for b in found.blocks], [b.target_after for b in found.blocks]),
        (found.old, _OLD, [b.old_before for b in found.blocks], [b.old_after for b in found.blocks]),
    ):
        if name:
            figure.add_trace(_line(xs, before, f"{name}, before", colour, "dot"))
            figure.add_trace(_line(xs, after, f"{name}, after", colour))
    return _laid_out(figure, "behind block")


def trace_figure(found: Traced) -> go.Figure | None:
    """How much of the answer each restored state brings back: tokens down, blocks across. None where nothing
    was traced.
    """
    if not found.share:
        return None
    start, end = found.subject
    names = [f"{token} ◂" if start <= i < end else token for i, token in enumerate(found.tokens)]
    shares = [[row[i] for row in found.share] for i in range(len(names))]
    figure = go.Figure(
        go.Heatmap(
            x=[str(block) for block in found.blocks],
            y=list(range(len(names))),
            z=shares,
            zmin=0,
            zmax=1,
            colorscale=[[0, "rgba(0,114,178,0.04)"], [1, BLUE]],
            colorbar={"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
            hovertemplate="block %{x}: %{z:.0%} comes back<extra></extra>",
        )
    )
    layout = _axis("state put back behind block")
    y = {**_axis(""), "tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"}
    height = max(220, 28 * len(names) + 90)
    return figure.update_layout(**COMMON, height=height, margin=_MARGIN | {"l": 110}, xaxis=layout, yaxis=y)


def _line(xs: list, ys: list, name: str, colour: str, dash: str = "solid") -> go.Scatter:
    line = {"color": colour, "width": 2, "dash": dash}
    return go.Scatter(
        x=xs, y=ys, name=name, mode="lines", line=line, hovertemplate=f"%{{y:.1%}} {name}<extra></extra>"
    )


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 13}},
        "gridcolor": GRID,
        "zeroline": False,
        "fixedrange": True,
    }


def _laid_out(figure: go.Figure, x: str) -> go.Figure:
    y = {**_axis(""), "range": [0, 1.12], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]}
    legend = {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0}
    return figure.update_layout(
        **COMMON, height=_HEIGHT, margin=_MARGIN, xaxis=_axis(x), yaxis=y, legend=legend, dragmode=False
    )
