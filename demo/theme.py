"""Fonts, colours and the style sheet. Built-in fonts only: the page must open without a network."""

import itertools
from pathlib import Path

import gradio as gr

from model_zoo.tasks import TASKS

ASSETS = Path(__file__).parent.parent / "assets"
STYLE = ASSETS / "style.css"

# Okabe and Ito's palette: told apart with any colour vision. Used by plots and, in the style sheet, by chips.
_PALETTE = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
_SYMBOLS = ("circle", "square", "diamond", "x", "cross", "circle-open")
TASK_COLOURS = dict(zip(TASKS, itertools.cycle(_PALETTE)))
TASK_SYMBOLS = dict(zip(TASKS, itertools.cycle(_SYMBOLS)))
OWN_COLOUR = "#D55E00"

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]


def build_theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.slate, font=_SANS, font_mono=_MONO, radius_size=gr.themes.sizes.radius_md
    ).set(
        body_background_fill="#fbfbfa",
        body_background_fill_dark="#12161c",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1a2029",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1a2029",
        input_border_width="1px",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_border_width="1px",
        checkbox_label_border_color="#cbd5e1",
        checkbox_label_border_color_dark="#3b4656",
        block_title_text_color="*body_text_color",
        block_info_text_size="13px",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        input_border_color="#cbd5e1",
        input_border_color_dark="#3b4656",
        button_primary_background_fill="#0b5cad",
        button_primary_background_fill_hover="#0a4f95",
        button_primary_background_fill_dark="#2b7cd3",
        button_primary_background_fill_hover_dark="#3b8ce3",
        button_primary_text_color="#ffffff",
    )
