"""Reports -> Plotly figures. Pure functions."""

import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from model_zoo.directions import DirectionMap
from model_zoo.palette import CLEAR, EDGE, GREY, GRID, PINK, WHITE
from model_zoo.scopes import Kind
from model_zoo.studio import Reached
from model_zoo.tasks import TASKS

from .theme import OWN_COLOUR, TASK_COLOURS, TASK_SYMBOLS


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
                        "line": {"width": 0.6, "color": EDGE}},
                hovertext=[_hover(name, m.points[i].request.prompt, m.points[i].request.target) for i in indices], hoverinfo="text",
            )
        )  # fmt: skip
    if own:
        _add_own(figure, own, three_d)
    titles = [f"PC {i + 1}, {share:.0%} of variance" for i, share in enumerate(m.explained)]
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "color": GREY, "showticklabels": False}
    axes = {f"{a}axis": {**axis, "title": {"text": title}} for a, title in zip("xyz", titles, strict=True)}
    if not three_d:
        axes.pop("zaxis")
    figure.update_layout(
        **({"scene": {**axes, "bgcolor": CLEAR}} if three_d else axes),
        height=540, autosize=True, margin={"l": 40, "r": 16, "t": 12, "b": 40}, paper_bgcolor=CLEAR, plot_bgcolor=CLEAR,
        font={"color": GREY, "family": "system-ui, DejaVu Sans, sans-serif", "size": 13}, hoverlabel={"align": "left", "font": {"size": 13}},
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
            marker={**look, "color": OWN_COLOUR, "line": {"width": 1, "color": WHITE}},
            hovertext=[f"<b>Your edit</b><br>{escape(label)}" for label, _ in own], hoverinfo="text",
        )
    )  # fmt: skip
    for text, (_, (x, y, _)) in () if three_d else zip(labels, own):
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, yshift=20, bgcolor=OWN_COLOUR, borderpad=3, font={"color": WHITE, "size": 12})


# ring of each kind of probe, and what stands at its edge
RINGS: dict[Kind, int] = {"itself": 0, "rewording": 1, "alias": 1, "implied": 1, "category": 2, "relation": 3, "world": 4}
_RING_NAMES = ("", "same fact, other words", "others of its kind", "other facts of it", "everything else")
_NAME_WIDTH = 1.7  # in radii of the innermost ring
# what a probe did: name, colour, symbol, size
_DONE = {
    "follows": ("says the target", OWN_COLOUR, "circle", 15),
    "moved": ("says something else new", PINK, "diamond", 14),
    "stays": ("as before", GREY, "circle-open", 11),
}


def _places(reached: Sequence[Reached]) -> list[tuple[float, float]]:
    """A point on its kind's ring for every probe; the same for every side, so that the eye can compare."""
    rings = [RINGS[r.kind] for r in reached]
    seen, places = dict.fromkeys(rings, 0), []
    for ring in rings:
        gap = _NAME_WIDTH / max(ring, 1)  # as an angle, at the top, where the ring's name stands
        angle = math.pi / 2 + gap / 2 + (2 * math.pi - gap) * (seen[ring] + 0.5) / rings.count(ring)
        seen[ring] += 1
        places.append((ring * math.cos(angle), ring * math.sin(angle)))
    return places


def ripple_figure(reached: Sequence[Reached], side: int) -> go.Figure:
    """How far an edit reached under one instruction: probes on rings around it, marked by what they did."""
    figure, places = go.Figure(), _places(reached)
    outer = max(RINGS.values())
    for ring in range(outer, 0, -1):
        figure.add_shape(type="circle", x0=-ring, x1=ring, y0=-ring, y1=ring, line={"color": GRID, "width": 1.2}, layer="below")
        figure.add_annotation(x=0, y=ring, text=_RING_NAMES[ring], showarrow=False, yshift=8, font={"size": 11, "color": GREY})
    done = ["stays" if not r.moved[side] else "follows" if r.follows[side] else "moved" for r in reached]
    for what, (name, colour, symbol, size) in _DONE.items():
        own = [i for i, d in enumerate(done) if d == what]
        figure.add_trace(
            go.Scatter(
                x=[places[i][0] for i in own], y=[places[i][1] for i in own], mode="markers", name=name,
                marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 1.6, "color": colour if what == "stays" else WHITE}},
                hovertext=[_probe_hover(reached[i], side) for i in own], hoverinfo="text",
            )
        )  # fmt: skip
    axis = {"visible": False, "range": [-outer - 0.4, outer + 0.4], "fixedrange": True}
    figure.update_layout(
        xaxis=axis, yaxis={**axis, "scaleanchor": "x"}, height=440, autosize=True, margin={"l": 4, "r": 4, "t": 4, "b": 4},
        paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, dragmode=False,
        font={"color": GREY, "family": "system-ui, DejaVu Sans, sans-serif", "size": 13}, hoverlabel={"align": "left", "font": {"size": 13}},
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0.5, "xanchor": "center", "itemsizing": "constant"},
    )  # fmt: skip
    return figure


def _probe_hover(r: Reached, side: int) -> str:
    said = escape(r.before) if not r.moved[side] else f"{escape(r.before)} → <b>{escape(r.after[side])}</b>"
    return f"{escape(r.prompt)}<br>{said}"
