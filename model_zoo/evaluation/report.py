"""Results -> figures as plain Plotly JSON, and one self-contained HTML page. Plotly itself is not imported:
the page carries its script.
"""

import json
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path

from .. import palette
from ..palette import CLEAR, GREY, GRID, LIGHT
from .metrics import SCORES
from .summary import OF_TEXT

METRICS = ("reliability", "generality", "locality", "portability")
COLOURS = (palette.BLUE, palette.ORANGE, palette.GREEN, palette.PINK, palette.SKY, palette.VERMILION)


def bars(summary: Sequence[dict], metric: str, score: str = "generated") -> dict:
    """One metric as bars by task and method with 95% intervals, in percent."""
    rows = [s for s in summary if s["metric"] == metric and s["score"] == score]
    traces = []
    for i, method in enumerate(dict.fromkeys(s["method"] for s in rows)):
        own = [s for s in rows if s["method"] == method]
        up, down = ([100 * abs(s[side] - s["mean"]) for s in own] for side in ("high", "low"))
        traces.append(
            {
                "type": "bar",
                "name": method,
                "x": [s["task"] for s in own],
                "y": [100 * s["mean"] for s in own],
                "marker": {"color": COLOURS[i % len(COLOURS)]},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": up,
                    "arrayminus": down,
                    "color": GREY,
                    "thickness": 1.5,
                    "width": 4,
                },
                "hovertemplate": method + ", %{x}: %{y:.1f}%<extra></extra>",
            }
        )
    layout = {
        "barmode": "group",
        "bargap": 0.35,
        "height": 320,
        "margin": {"l": 55, "r": 10, "t": 40, "b": 40},
        "title": {"text": metric, "x": 0, "font": {"size": 16}},
        "yaxis": {
            "title": {"text": f"{metric}, % of edits"},
            "range": [0, 105],
            "gridcolor": GRID,
            "zeroline": False,
        },
        "legend": {"orientation": "h", "y": 1.15, "x": 1, "xanchor": "right"},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": "system-ui, sans-serif", "color": GREY},
    }
    return {"data": traces, "layout": layout}


def interval(s: dict) -> str:
    """Mean and 95% interval as people read them; fluency in bits."""
    if s["metric"] == "fluency":
        return f"{s['mean']:.2f} [{s['low']:.2f}, {s['high']:.2f}] bits"
    return f"{s['mean']:.1%} [{s['low']:.1%}, {s['high']:.1%}]"


def table(summary: Sequence[dict]) -> list[list[str]]:
    """Rows of method, task, metric, each score, n."""
    cells: dict[tuple, dict] = {}
    for s in summary:
        cells.setdefault((s["method"], s["task"], s["metric"]), {})[s["score"]] = s
    rows = []
    for key, scores in cells.items():
        shown = (interval(scores[name]) if name in scores else "" for name in SCORES)
        rows.append([*key, *shown, str(next(iter(scores.values()))["n"])])
    return rows


HEAD = ("method", "task", "metric", *(score.title for score in SCORES.values()), "n")


def failing(cases: Sequence[dict]) -> list[tuple[dict, list[dict]]]:
    """(case, its rows that missed) of every case that missed something."""
    found = [
        (case, [r for r in case["rows"] if r["metric"] not in OF_TEXT and r["generated"] == 0.0])
        for case in cases
    ]
    return [(case, rows) for case, rows in found if rows]


def page(data: dict) -> str:
    """The whole evaluation as one HTML file that needs nothing else."""
    present = [m for m in METRICS if any(s["metric"] == m for s in data["summary"])]
    figures = [bars(data["summary"], metric) for metric in present]
    divs = "".join(f'<div id="figure{i}"></div>' for i in range(len(figures)))
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table(data["summary"])
    )
    config = escape(json.dumps({k: data[k] for k in ("config", "versions")}, ensure_ascii=False))
    skipped = "".join(
        f"<li>row {escape(s['row'])}, {escape(s['field'])}: {escape(s['reason'])}</li>"
        for s in data["skipped"]
    ) + "".join(
        f"<li>{escape(name)}, of {n} rows: nothing reads it</li>" for name, n in data["unread"].items()
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">\
<meta name="viewport" content="width=device-width">
<title>Evaluation of edits</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;\
color:{LIGHT.ink}}}table{{border-collapse:collapse}}
td,th{{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid {LIGHT.line}}}\
code{{font-size:13px;overflow-wrap:anywhere}}
.no{{color:{LIGHT.no}}}figure{{margin:0}}details{{margin:.3rem 0}}</style>
<h1>Evaluation of edits</h1><p>Bars are means over edits with bootstrap 95% intervals, clustered by subject. \
Generated: the greedy text begins with
the target. Teacher-forced: share of the target's tokens that are the model's first choice. Sentiment:
the text voices the target's, judged by the known reply whose words it shares most.</p>\
<p><code>{config}</code></p>
<figure>{divs}</figure><h2>All figures</h2>\
<table><tr>{"".join(f"<th>{h}</th>" for h in HEAD)}</tr>{rows}</table>
<h2>Cases that missed something</h2>{_cases(data["cases"])}
{f"<h2>Left out</h2><ul>{skipped}</ul>" if skipped else ""}
{plots(figures)}</html>"""


def _cases(cases: Sequence[dict], most: int = 300) -> str:
    parts = []
    for case, rows in failing(cases)[:most]:
        lines = "".join(
            f"<li>{escape(r['metric'])}: {escape(r['prompt'])} | {escape(r['before'])} → "
            f'<b class="no">{escape(r["after"])}</b>'
            f" (wanted {escape(r['expected'])})</li>"
            for r in rows
        )
        title = f"{case['method']}, {case['task']}: {case['prompt']} → {case['target']} ({len(rows)} missed)"
        parts.append(f"<details><summary>{escape(title)}</summary><ul>{lines}</ul></details>")
    rest = len(failing(cases)) - most
    return "".join(parts) + (f"<p>{rest} more are in the JSON.</p>" if rest > 0 else "") or "<p>None.</p>"


def plots(figures: Sequence[dict]) -> str:
    """The scripts that draw figures into the elements figure0, figure1 and so on of a page."""
    made = "".join(
        f"Plotly.newPlot('figure{i}', {_json(f['data'])}, {_json(f['layout'])}, "
        "{displayModeBar: false, responsive: true});"
        for i, f in enumerate(figures)
    )
    return f"<script>{plotly_script()}</script><script>{made}</script>" if figures else ""


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False).replace("</", "<\\/")


def plotly_script() -> str:
    """Plotly's script from the installed package. ValueError where there is none."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ValueError(
            "The page's figures need the package plotly; install it with 'pip install plotly', or leave "
            "--html out."
        )
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
