"""Editing methods: each proposes changes and says how its edits live together. One method per file and one
line in METHODS.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..backbone import Backbone
from ..progress import Progress, no_progress
from ..registry import find, registered
from ..sources import Source, default_source
from .alphaedit import AlphaEdit
from .base import EditMethod, MethodOf, Setup, check_requests
from .calinet import CaliNet
from .easyedit import EasyEdit
from .emmet import EMMET
from .ft import FT
from .ft_l import FTL
from .grace import GRACE
from .hyperparameters import Control, Hyperparameters, assignments, checked, controls
from .ike import IKE
from .instructedit import InstructEdit
from .ke import KE
from .lora import LoRA
from .lte import LTE
from .memit import MEMIT
from .mend import MEND
from .rome import ROME
from .serac import SERAC
from .ultraedit import UltraEdit
from .wise import WISE

__all__ = [
    "METHODS",
    "Control",
    "EditMethod",
    "Hyperparameters",
    "MethodOf",
    "Setup",
    "assignments",
    "check_requests",
    "controls",
    "get_method",
    "hyperparameters",
    "load_method",
]

METHODS: MappingProxyType[str, type[EditMethod]] = registered(
    "method",
    (
        InstructEdit,
        MEND,
        EasyEdit,
        KE,
        FTL,
        FT,
        LoRA,
        ROME,
        EMMET,
        MEMIT,
        AlphaEdit,
        UltraEdit,
        CaliNet,
        GRACE,
        WISE,
        LTE,
        SERAC,
        IKE,
    ),
)


def get_method(name: str) -> type[EditMethod]:
    """The registered method; ValueError names the known ones."""
    return find("method", METHODS, name)


def hyperparameters(name: str, values: Mapping[str, object] | None = None) -> Hyperparameters:
    """A method's hyperparameters: its defaults with these values. ValueError says which one is wrong."""
    method = get_method(name)
    return checked(method.pretty_name, method.Hyperparameters, values or {})


def load_method(
    name: str,
    backbone: Backbone,
    editor: Path | None = None,
    hyper: Hyperparameters | None = None,
    source: Source | None = None,
    progress: Progress = no_progress,
    text: tuple[str, ...] = (),
) -> EditMethod:
    """Load a registered method for a backbone; ValueError says which names exist or that an editor is
    missing.
    """
    method = get_method(name)
    if method.needs_editor and editor is None:
        free = ", ".join(m.name for m in METHODS.values() if not m.needs_editor)
        way = "Train one with 'python -m model_zoo train'"
        if method.trained_by is None:
            way = "Bring an archive in with 'python -m model_zoo import'"
        raise ValueError(
            f"{method.pretty_name} needs an editor trained for {backbone.name}, and none is at hand. "
            f"{way}, or use a method that needs none: {free}."
        )
    if method.needs_subject and backbone.family.encoder_decoder:
        raise ValueError(
            f"{method.pretty_name} edits at a subject's tokens, and the decoder of {backbone.name} sees none "
            "of a prompt's: its encoder reads them. Use a method that needs no subject."
        )
    return method.load(
        Setup(backbone, editor, hyper or method.Hyperparameters(), source or default_source(), progress, text)
    )
