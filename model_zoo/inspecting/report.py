"""An inspection as one value, as JSON, and as one HTML file that needs nothing else."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from ..evaluation.report import plots
from ..events import EditReport
from ..palette import DARK, LIGHT, Shades
from .figures import figure
from .findings import Finding, Knowledge
from .fragments import TITLES, lights, section

_WORDS = re.compile(r"(?<!^)(?=[A-Z])")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 900px; margin: 32px auto; padding: 0 16px;
  background: var(--page); color: var(--ink); }
h1 { font-size: 26px; margin: 0 0 4px; } h3 { font-size: 18px; margin: 28px 0 6px; }
.soft, .source, .light p { color: var(--soft); font-size: 14px; margin: 2px 0; }
.light p.figure { color: var(--ink); font-size: 18px; font-weight: 600; }
.pair, .lights { display: flex; gap: 28px; flex-wrap: wrap; margin: 16px 0; }
.light h3 { margin: 0; font-size: 14px; } .pair p { margin: 0; font-size: 20px; }
.light.good p.figure, .yes { color: var(--yes); }
.light.bad p.figure, .light.mixed p.figure, .bad b, .mixed b, .no { color: var(--no); }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 8px 0; }
td, th { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line); }
td, th { vertical-align: top; } .kept { font-size: 14px; }
.wide { overflow-x: auto; } mark { background: var(--lit); color: inherit; } summary { cursor: pointer; }
.kept { display: grid; grid-template-columns: 220px 84px 1fr; gap: 12px; align-items: center; }
.bar { height: 6px; border-radius: 3px; background: var(--line); } pre { white-space: pre-wrap; }
.bar span { display: block; height: 100%; border-radius: 3px; background: var(--accent); }
"""


def name_of(finding: Finding) -> str:
    """The finding's key in JSON: neutral_text, knowledge, ..."""
    return _WORDS.sub("_", type(finding).__name__).lower()


def whole(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings without those of `Knowledge` that a later one holds."""
    return (f for f in findings if not isinstance(f, Knowledge) or f.done)


def as_dict(edit: EditReport, findings: Sequence[Finding], versions: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as plain data, with the figures that are made of it, and the versions that made them."""
    found: dict[str, Any] = {name_of(f): asdict(f) for f in findings}
    for finding in findings:
        if isinstance(finding, Knowledge):
            found["knowledge"]["counts"] = finding.counts()
    return {"edit": edit.to_dict(), **found, "versions": dict(versions)}


def write_html(
    edit: EditReport, findings: Sequence[Finding], versions: Mapping[str, Any], command: str, path: Path
) -> Path:
    """One file with everything in words, tables and figures, light or dark as the reader's screen is."""
    made = ", ".join(f"{name} {number}" for name, number in versions.items())
    facts = (
        f"{edit.model}, {edit.method}, {edit.edit_seconds:.2f} s"
        + (f"; instruction: {edit.instruction}" if edit.instruction else "")
    )  # fmt: skip
    order = list(TITLES)
    ordered = sorted(findings, key=lambda finding: order.index(type(finding)))
    pair = "".join(
        f'<div><span class="soft">{title}</span><p>{escape(edit.prompt)} <b>{escape(said)}</b></p></div>'
        for title, said in (("Before", edit.before), ("After", edit.after))
    )
    figures = [drawn for finding in ordered if (drawn := figure(finding))]
    numbers = iter(range(len(figures)))
    body = "".join(
        section(finding) + (f'<div id="figure{next(numbers)}"></div>' if figure(finding) else "")
        for finding in ordered
    )
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{escape(edit.prompt)} → {escape(edit.target)}</title>'
        f"<style>{_colours(LIGHT)}@media (prefers-color-scheme: dark) {{{_colours(DARK)}}}{_STYLE}</style>"
        f"<h1>{escape(edit.prompt)} → {escape(edit.target)}</h1><p class='soft'>{escape(facts)}</p>"
        f'<div class="pair">{pair}</div>{lights(ordered)}{body}'
        f"<h3>Made with</h3><pre>{escape(command)}</pre><p class='soft'>{escape(made)}; noise of the tracing "
        f"from seed 0, texts greedy</p>{plots(figures)}</html>\n",
        encoding="utf-8",
    )
    return path


def _colours(shades: Shades) -> str:
    values = (f"--{name.replace('_', '-')}: {value};" for name, value in asdict(shades).items())
    return f":root {{ {' '.join(values)} }}"
