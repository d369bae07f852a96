"""InstructEdit Studio's engine: models in, edits out."""

from .backbone import Backbone
from .changes import Delta, LayerDelta, Patch
from .events import EditReport
from .request import EditRequest
from .session import Edit, EditSession
from .studio import Studio
from .tasks import TASKS

__all__ = [
    "TASKS",
    "Backbone",
    "Delta",
    "Edit",
    "EditReport",
    "EditRequest",
    "EditSession",
    "LayerDelta",
    "Patch",
    "Studio",
]
