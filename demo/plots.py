"""Reports -> Plotly figures. Pure functions."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from model_zoo.directions import DirectionMap
from model_zoo.events import Reached
from model_zoo.inspecting.figures import COMMON
from model_zoo.inspecting.figures import escaped as escape
from model_zoo.palette import BLUE, CLEAR, EDGE, GREY, GRID, PINK, WHITE
from model_zoo.scopes import Kind
from model_zoo.tasks import TASKS
from model_zoo.training.following import Curve

from .theme import OWN_COLOUR, TASK_COLOURS, TASK_SYMBOLS

Position = tuple[float, float, float]
OwnPoint = tuple[str, Position]  # the label of a visitor's edit, and where it falls


# ---- directions --------------------------------------------------------------------------------------------


def direction_figure(m: DirectionMap, own: Sequence[OwnPoint], three_d: bool) -> go.Figure:
    """The reference edits by task, and the visitor's own as stars."""
    figure = go.Figure()
    for name in TASKS:
        figure.add_trace(_task_trace(m, name, three_d))
    if own:
        labels = [escape(label if len(label) <= 32 else label[:31] + "…") for label, _ in own]
        figure.add_trace(_own_trace(own, labels, three_d))
        if not three_d:
            _add_labels(figure, own, labels)
    figure.update_layout(
        **_axes(m, three_d),
        **COMMON,
        height=540,
        margin={"l": 40, "r": 16, "t": 12, "b": 40},
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        clickmode="event",
        dragmode="orbit" if three_d else "pan",
    )
    return figure


def _trace(points: Sequence[Position], three_d: bool, **kwargs) -> go.Scatter | go.Scatter3d:
    xs, ys, zs = zip(*points, strict=True) if points else ((), (), ())
    return go.Scatter3d(x=xs, y=ys, z=zs, **kwargs) if three_d else go.Scatter(x=xs, y=ys, **kwargs)


def _task_trace(m: DirectionMap, name: str, three_d: bool) -> go.Scatter | go.Scatter3d:
    """One task's reference edits. `customdata` tells a click which one it hit."""
    indices = [i for i, point in enumerate(m.points) if point.task == name]
    marker = {
        "size": 5 if three_d else 9,
        "color": TASK_COLOURS[name],
        "symbol": TASK_SYMBOLS[name],
        "opacity": 0.85,
        "line": {"width": 0.6, "color": EDGE},
    }
    return _trace(
        [m.points[i].position for i in indices],
        three_d,
        mode="markers",
        name=TASKS[name].title,
        customdata=indices,
        marker=marker,
        hovertext=[_edit_hover(name, m.points[i].request) for i in indices],
        hoverinfo="text",
    )


def _edit_hover(task: str, request) -> str:
    return f"<b>{TASKS[task].title}</b><br>{escape(request.prompt)}<br>→ {escape(request.target)}"


def _own_trace(own: Sequence[OwnPoint], labels: list[str], three_d: bool) -> go.Scatter | go.Scatter3d:
    look = {"symbol": "diamond", "size": 9} if three_d else {"symbol": "star", "size": 19}
    return _trace(
        [position for _, position in own],
        three_d,
        mode="markers+text" if three_d else "markers",
        name="Your edit",
        customdata=[-1] * len(own),
        text=labels,
        textposition="top center",
        textfont={"color": OWN_COLOUR, "size": 13},
        marker={**look, "color": OWN_COLOUR, "line": {"width": 1, "color": WHITE}},
        hovertext=[f"<b>Your edit</b><br>{escape(label)}" for label, _ in own],
        hoverinfo="text",
    )


def _add_labels(figure: go.Figure, own: Sequence[OwnPoint], labels: list[str]) -> None:
    """The visitor's edits by name, above their stars."""
    look = {"bgcolor": OWN_COLOUR, "borderpad": 3, "font": {"color": WHITE, "size": 12}}
    for text, (_, (x, y, _)) in zip(labels, own):
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, yshift=20, **look)


def _axes(m: DirectionMap, three_d: bool) -> dict:
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "color": GREY, "showticklabels": False}
    axes = {}
    for i, (name, share) in enumerate(zip("xyz", m.explained, strict=True)):
        axes[f"{name}axis"] = {**axis, "title": {"text": f"PC {i + 1}, {share:.0%} of variance"}}
    if three_d:
        return {"scene": {**axes, "bgcolor": CLEAR}}
    del axes["zaxis"]
    return axes


# ---- scope -------------------------------------------------------------------------------------------------

# ring of each kind of probe, and what stands at its edge
RINGS: dict[Kind, int] = {
    "itself": 0,
    "rewording": 1,
    "alias": 1,
    "implied": 1,
    "category": 2,
    "relation": 3,
    "world": 4,
}
_RING_NAMES = ("", "same fact, other words", "others of its kind", "other facts of it", "everything else")
_NAME_WIDTH = 1.7  # in radii of the innermost ring
# what a probe did: name, colour, symbol, size
_DONE = {
    "follows": ("says the target", OWN_COLOUR, "circle", 15),
    "moved": ("says something else new", PINK, "diamond", 14),
    "stays": ("as before", GREY, "circle-open", 11),
}


def ripple_figure(reached: Sequence[Reached], side: int) -> go.Figure:
    """How far an edit reached under one instruction: probes on rings around it, marked by what they did."""
    figure, outer = go.Figure(), max(RINGS.values())
    for ring in range(outer, 0, -1):
        _add_ring(figure, ring)
    probes = list(zip(reached, _on_rings(reached), strict=True))
    for what in _DONE:
        figure.add_trace(_probe_trace([p for p in probes if _done(p[0], side) == what], what, side))
    axis = {"visible": False, "range": [-outer - 0.4, outer + 0.4], "fixedrange": True}
    legend = {"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0.5, "xanchor": "center"}
    figure.update_layout(
        **COMMON,
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x"},
        height=440,
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        dragmode=False,
        legend={**legend, "itemsizing": "constant"},
    )
    return figure


def _add_ring(figure: go.Figure, ring: int) -> None:
    line, font = {"color": GRID, "width": 1.2}, {"size": 11, "color": GREY}
    figure.add_shape(type="circle", x0=-ring, x1=ring, y0=-ring, y1=ring, line=line, layer="below")
    figure.add_annotation(x=0, y=ring, text=_RING_NAMES[ring], showarrow=False, yshift=8, font=font)


def _on_rings(reached: Sequence[Reached]) -> list[tuple[float, float]]:
    """A point on its kind's ring for every probe; the same for every side, so that the eye can compare."""
    rings = [RINGS[r.kind] for r in reached]
    seen, points = dict.fromkeys(rings, 0), []
    for ring in rings:
        gap = _NAME_WIDTH / max(ring, 1)  # as an angle, at the top, where the ring's name stands
        share = (seen[ring] + 0.5) / rings.count(ring)
        angle = math.pi / 2 + gap / 2 + (2 * math.pi - gap) * share
        seen[ring] += 1
        points.append((ring * math.cos(angle), ring * math.sin(angle)))
    return points


def _done(r: Reached, side: int) -> str:
    """What a probe did, as a key of `_DONE`."""
    if not r.moved[side]:
        return "stays"
    return "follows" if r.follows[side] else "moved"


def _probe_trace(probes: list[tuple[Reached, tuple[float, float]]], what: str, side: int) -> go.Scatter:
    name, colour, symbol, size = _DONE[what]
    line = {"width": 1.6, "color": colour if what == "stays" else WHITE}
    return go.Scatter(
        x=[x for _, (x, _) in probes],
        y=[y for _, (_, y) in probes],
        mode="markers",
        name=name,
        marker={"symbol": symbol, "size": size, "color": colour, "line": line},
        hovertext=[_probe_hover(r, side) for r, _ in probes],
        hoverinfo="text",
    )


def _probe_hover(r: Reached, side: int) -> str:
    said = f"{escape(r.before)} → <b>{escape(r.after[side])}</b>" if r.moved[side] else escape(r.before)
    return f"{escape(r.prompt)}<br>{said}"


# ---- many edits --------------------------------------------------------------------------------------------


def _curve_layout(x: str, y: str) -> dict:
    """Of a figure with one curve or two and plain axes."""
    axis = {"gridcolor": GRID, "zeroline": False}
    return {
        **COMMON,
        "height": 240,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "xaxis": {**axis, "title": {"text": x, "font": {"size": 13}}, "rangemode": "tozero"},
        "yaxis": {**axis, "title": {"text": y, "font": {"size": 13}}},
    }


def held_figure(curve: Sequence[tuple[int, float]]) -> go.Figure:
    """How many of the first k edits hold after all of them."""
    ks, shares = zip(*curve, strict=True)
    figure = go.Figure(
        go.Scatter(
            x=ks,
            y=shares,
            mode="lines+markers",
            line={"color": PINK, "width": 2},
            hovertemplate="%{y:.0%} of the first %{x}<extra></extra>",
        )
    )
    figure.update_layout(_curve_layout("of the first so many edits", "hold after all"), showlegend=False)
    figure.update_yaxes(range=[0, 1.04], tickformat=".0%")
    return figure


# ---- training ----------------------------------------------------------------------------------------------


def loss_figure(curve: Curve, steps: int) -> go.Figure:
    """The smoothed loss of a training step by step, and that of held-out edits where they were looked at."""
    figure = go.Figure()
    held = [(look.step, look.loss) for look, _ in curve.looks]
    lines = (("training edits", curve.points, BLUE, "lines"), ("held-out edits", held, PINK, "lines+markers"))
    for name, points, colour, mode in lines:
        figure.add_trace(
            go.Scatter(
                x=[step for step, _ in points],
                y=[loss for _, loss in points],
                name=name,
                mode=mode,
                line={"color": colour, "width": 2},
                marker={"size": 9},
                cliponaxis=False,
                hovertemplate="step %{x}: %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    figure.update_layout(_curve_layout("step", "loss"), height=300, showlegend=True)
    figure.update_xaxes(range=[0, steps])
    figure.update_yaxes(rangemode="tozero")
    legend = {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0}
    figure.update_layout(legend=legend, margin={"b": 80})
    return figure
