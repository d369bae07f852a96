"""InstructEdit Studio's engine: models in, edits out."""

from .backbone import Backbone
from .delta import Delta, Factors, LayerDelta
from .session import EditSession
from .studio import EditReport, Studio
from .tasks import TASKS
from .request import EditRequest

__all__ = ["Backbone", "Delta", "EditReport", "EditRequest", "EditSession", "Factors", "LayerDelta", "Studio", "TASKS"]
