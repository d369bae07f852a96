"""Reports -> Plotly figures. Pure functions."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from model_zoo.directions import DirectionMap
from model_zoo.tasks import TASKS

from .theme import OWN_COLOUR, TASK_COLOURS, TASK_SYMBOLS

_INK = "#7c8796"  # readable on light and dark alike
_GRID = "rgba(124,135,150,0.22)"


def _hover(task: str, prompt: str, target: str) -> str:
    return f"<b>{TASKS[task].title}</b><br>{escape(prompt)}<br>→ {escape(target)}"


def _trace(points: Sequence[tuple[float, float, float]], three_d: bool, **kwargs) -> go.Scatter | go.Scatter3d:
    xs, ys, zs = zip(*points, strict=True) if points else ((), (), ())
    return go.Scatter3d(x=xs, y=ys, z=zs, **kwargs) if three_d else go.Scatter(x=xs, y=ys, **kwargs)


def direction_figure(m: DirectionMap, own: Sequence[tuple[str, tuple[float, float, float]]], three_d: bool) -> go.Figure:
    """The reference edits by task, and the visitor's own (label, position) as stars."""
    figure = go.Figure()
    for name, task in TASKS.items():
        indices = [i for i, point in enumerate(m.points) if point.task == name]
        figure.add_trace(
            _trace(
                [m.points[i].position for i in indices], three_d, mode="markers", name=task.title, customdata=indices,
                marker={"size": 5 if three_d else 9, "color": TASK_COLOURS[name], "symbol": TASK_SYMBOLS[name], "opacity": 0.85,
                        "line": {"width": 0.6, "color": "rgba(255,255,255,.7)"}},
                hovertext=[_hover(name, m.points[i].request.prompt, m.points[i].request.target) for i in indices], hoverinfo="text",
            )
        )  # fmt: skip
    if own:
        _add_own(figure, own, three_d)
    titles = [f"PC {i + 1}, {share:.0%} of variance" for i, share in enumerate(m.explained)]
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "color": _INK, "showticklabels": False}
    axes = {f"{a}axis": {**axis, "title": {"text": title}} for a, title in zip("xyz", titles, strict=True)}
    if not three_d:
        axes.pop("zaxis")
    figure.update_layout(
        **({"scene": {**axes, "bgcolor": "rgba(0,0,0,0)"}} if three_d else axes),
        height=540, autosize=True, margin={"l": 40, "r": 16, "t": 12, "b": 40}, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"color": _INK, "family": "system-ui, DejaVu Sans, sans-serif", "size": 13}, hoverlabel={"align": "left", "font": {"size": 13}},
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        clickmode="event", dragmode="orbit" if three_d else "pan",
    )  # fmt: skip
    return figure


def _add_own(figure: go.Figure, own: Sequence[tuple[str, tuple[float, float, float]]], three_d: bool) -> None:
    """The visitor's edits as labelled stars."""
    labels = [escape(label if len(label) <= 32 else label[:31] + "…") for label, _ in own]
    look = {"symbol": "diamond", "size": 9} if three_d else {"symbol": "star", "size": 19}
    figure.add_trace(
        _trace(
            [position for _, position in own], three_d, mode="markers+text" if three_d else "markers", name="Your edit",
            customdata=[-1] * len(own), text=labels, textposition="top center", textfont={"color": OWN_COLOUR, "size": 13},
            marker={**look, "color": OWN_COLOUR, "line": {"width": 1, "color": "white"}},
            hovertext=[f"<b>Your edit</b><br>{escape(label)}" for label, _ in own], hoverinfo="text",
        )
    )  # fmt: skip
    for text, (_, (x, y, _)) in () if three_d else zip(labels, own):
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, yshift=20, bgcolor=OWN_COLOUR, borderpad=3, font={"color": "white", "size": 12})
