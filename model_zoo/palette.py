"""Every colour of the project. Figures, reports and the page take theirs from here."""

from dataclasses import dataclass

# Okabe and Ito's colours: told apart with any colour vision
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
PINK = "#CC79A7"
SKY = "#56B4E9"
VERMILION = "#D55E00"
YELLOW = "#F0E442"

# figures, on a light and on a dark page alike
WHITE = "#ffffff"
CLEAR = "rgba(0,0,0,0)"
GREY = "#7c8796"
GRID = "rgba(124,135,150,0.22)"
EDGE = "rgba(255,255,255,0.7)"

_DEEP_BLUE = "#0b5cad"
_NIGHT = "#1a2029"


@dataclass(frozen=True)
class Shades:
    """The colours of a page, light or dark."""

    page: str  # behind everything
    card: str  # behind what stands on the page
    ink: str  # text
    soft: str  # text of less weight
    line: str
    border: str  # around what can be typed in or ticked
    lit: str  # behind a changed word
    lit_line: str  # under a changed word
    yes: str
    no: str
    accent: str
    button: str
    button_hover: str


LIGHT = Shades(
    page="#fbfbfa",
    card=WHITE,
    ink="#1b2430",
    soft="#5c6877",
    line="#e3e6ea",
    border="#cbd5e1",
    lit="#fff0c9",
    lit_line="#c77700",
    yes="#0b6b4c",
    no="#b3261e",
    accent=_DEEP_BLUE,
    button=_DEEP_BLUE,
    button_hover="#0a4f95",
)
DARK = Shades(
    page="#12161c",
    card=_NIGHT,
    ink="#e8edf3",
    soft="#9aa7b6",
    line="#2c3540",
    border="#3b4656",
    lit="#4a3a10",
    lit_line="#f0b64a",
    yes="#5fd0a5",
    no="#ff8f85",
    accent="#6fb1f5",
    button="#2b7cd3",
    button_hover="#3b8ce3",
)
