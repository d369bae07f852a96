"""What the flags of app.py decide."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from model_zoo.catalog import DEFAULT_MODEL
from model_zoo.loading import LoadOptions


@dataclass(frozen=True)
class Settings:
    """With `demo` the page is a public Space, which loads listed models only."""

    host: str = "127.0.0.1"
    port: int | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    editor: str | None = None  # for `model`, instead of its own
    share: bool = False
    demo: bool = field(default_factory=lambda: "SPACE_ID" in os.environ)
    accept_licence: bool = False  # of `model`
    auth: Path | None = None  # names and passwords of who may come in
    editors: str = "editors"  # the folder for those that are trained from the page

    @property
    def options(self) -> LoadOptions:
        return LoadOptions(self.device, self.dtype, self.quantize)
