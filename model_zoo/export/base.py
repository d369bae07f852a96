"""The contract of an export format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..backbone import Backbone
from ..changes import Delta
from .provenance import Provenance

BASE = "base"  # the folder in an export that a copy of the base model lies in
PROJECT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Format:
    """`write(backbone, patch, provenance, folder)` fills a folder and returns notes for its card; `code` is
    what uses it, with {base} and {folder}; `library` is what the Hub should take it for; `needs_base`: what
    uses it looks for the base model too.
    """

    name: str
    title: str
    summary: str
    code: str
    write: Callable[[Backbone, Delta, Provenance, Path], str]
    library: str | None = None
    whole_model: bool = False
    needs_base: bool = False

    def usage(self, backbone: Backbone, folder: str, base_beside: bool = False) -> str:
        """The lines of code for this base model and folder; `base_beside`: a copy of the base lies in it."""
        base = f"{folder}/{BASE}" if base_beside else backbone.name
        if (origin := backbone.origin) and not base_beside:
            inside = origin.folder.is_relative_to(PROJECT)
            base = origin.repo or str(origin.folder.relative_to(PROJECT) if inside else origin.folder)
        code = self.code.replace("AutoModelForCausalLM", backbone.family.auto.__name__)
        return code.replace("{base}", base).replace("{folder}", folder)
