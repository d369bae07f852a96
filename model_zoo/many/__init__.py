"""Many edits at once: what a file of them comes to, all of them made in one model, each judged after all."""

from .making import AfterAll, EditAfterAll, Order, SoFar, applying, curve
from .plan import PROBES, Conflict, FilePlan, Keep, conflicts, planned

__all__ = [
    "PROBES",
    "AfterAll",
    "Conflict",
    "EditAfterAll",
    "FilePlan",
    "Keep",
    "Order",
    "SoFar",
    "applying",
    "conflicts",
    "curve",
    "planned",
]
