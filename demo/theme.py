"""Fonts, each task's look, the page's style. Built-in fonts only: the page opens without a network."""

import itertools
from dataclasses import asdict
from pathlib import Path

import gradio as gr

from model_zoo import palette
from model_zoo.palette import DARK, LIGHT
from model_zoo.tasks import TASKS

ASSETS = Path(__file__).parent.parent / "assets"
STYLE, ANSWERS = ASSETS / "style.css", ASSETS / "answers.js"

_COLOURS = (palette.BLUE, palette.GREEN, palette.PINK, palette.ORANGE, palette.SKY, palette.YELLOW)
_SYMBOLS = ("circle", "square", "diamond", "x", "cross", "circle-open")
TASK_COLOURS = dict(zip(TASKS, itertools.cycle(_COLOURS)))
TASK_SYMBOLS = dict(zip(TASKS, itertools.cycle(_SYMBOLS)))
OWN_COLOUR = palette.VERMILION  # the visitor's own edits

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]


def colour_variables() -> str:
    """The variables that the style sheet takes its colours from: light, dark, and one `--chip` per task."""
    shades = {":root": asdict(LIGHT), ".dark": asdict(DARK)}
    chips = {f".{name}": {"chip": colour} for name, colour in TASK_COLOURS.items()}
    rules = {**shades, **chips, "#try-dial": {"chip": OWN_COLOUR}}
    return "\n".join(f"{where} {{ {_declarations(colours)} }}" for where, colours in rules.items())


def _declarations(colours: dict[str, str]) -> str:
    return " ".join(f"--{name.replace('_', '-')}: {colour};" for name, colour in colours.items())


def build_theme() -> gr.themes.Base:
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_md,
    )
    return base.set(
        body_background_fill=LIGHT.page,
        body_background_fill_dark=DARK.page,
        background_fill_primary=LIGHT.card,
        background_fill_primary_dark=DARK.card,
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        input_background_fill=LIGHT.card,
        input_background_fill_dark=DARK.card,
        input_border_width="1px",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_border_width="1px",
        checkbox_label_border_color=LIGHT.border,
        checkbox_label_border_color_dark=DARK.border,
        block_title_text_color="*body_text_color",
        block_info_text_size="13px",
        block_info_text_color=LIGHT.soft,
        block_info_text_color_dark=DARK.soft,
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        input_border_color=LIGHT.border,
        input_border_color_dark=DARK.border,
        button_primary_background_fill=LIGHT.button,
        button_primary_background_fill_hover=LIGHT.button_hover,
        button_primary_background_fill_dark=DARK.button,
        button_primary_background_fill_hover_dark=DARK.button_hover,
        button_primary_text_color=palette.WHITE,
    )
