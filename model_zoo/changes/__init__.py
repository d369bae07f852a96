"""What an edit does to a model: few kinds of change, and the Patch that a stack of them comes to."""

from .base import Change, Effect, WholeChange
from .delta import Delta, Factors, LayerDelta, LayerFactors, concatenate
from .memory import Book, Codebook, Memory
from .neurons import LiveNeurons, Neurons
from .patch import Patch, Patches, live, patch_of
from .rewrite import Retriever, Rewrite, StoredEdit
from .side import SideMatrices

__all__ = [
    "Book",
    "Change",
    "Codebook",
    "Delta",
    "Effect",
    "Factors",
    "LayerDelta",
    "LayerFactors",
    "LiveNeurons",
    "Memory",
    "Neurons",
    "Patch",
    "Patches",
    "Retriever",
    "Rewrite",
    "SideMatrices",
    "StoredEdit",
    "WholeChange",
    "concatenate",
    "live",
    "patch_of",
]
