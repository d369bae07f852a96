"""What LTE and SERAC share: an edit is words before the prompt, and an adapter trained once for a base model
has taught it to answer by them.

The adapter is low-rank factors of the MLP matrices, one for all edits; each edit is text alone.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from ..backbone import Backbone
from ..changes import Delta, LayerDelta, Retriever, Rewrite, StoredEdit
from ..request import EditRequest
from .base import EditMethod, Setup
from .editor_folder import (
    WEIGHTS_FILE,
    EditorConfig,
    EditorTensors,
    read_for,
    read_tensors,
    write_config,
    write_tensors,
)
from .hyperparameters import Hyperparameters

TEMPLATE = "{prompt} {target}\n"
FRAME = "[Updated Information] {edits}[Query] {prompt}"  # LTE's words
ADAPTER = "adapter."  # before a matrix's path in the file


Pair = tuple[StoredEdit, str, bool]  # an edit, a prompt, and whether the prompt is about it


class Reader(EditMethod):
    """A trained adapter bound to its backbone. `numbers`: what else was trained, by name."""

    kind = Rewrite
    needs_editor = True
    trained_by = "aligning"
    editor_in_words = "an adapter that has taught it to answer by edits that stand before a prompt"
    words: ClassVar[tuple[str, str]] = (TEMPLATE, FRAME)  # how edits stand before a prompt
    most_edits: ClassVar[int]  # before a prompt, in training
    leaves_others_alone: ClassVar[bool]  # its adapter is also trained on prompts that no edit is about

    def __init__(
        self,
        backbone: Backbone,
        hyperparameters: Hyperparameters,
        editor: EditorConfig,
        adapter: Delta,
        numbers: Mapping[str, Tensor] | None = None,
    ):
        self.backbone, self.config, self.editor = backbone, hyperparameters, editor
        self.adapter, self.numbers = adapter, dict(numbers or {})

    # ---- files ---------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, setup: Setup) -> Self:
        """Read an editor folder of this method. ValueError names what does not fit."""
        folder = cast(Path, setup.editor)  # needs_editor
        config = read_for(folder, setup.backbone, cls.name)
        tensors = dict(read_tensors(folder, config).network)
        layers = {}
        for path, (d_out, d_in) in config.modules.items():
            a, b = (tensors.pop(f"{ADAPTER}{path}.{name}", torch.empty(0, 0)) for name in "AB")
            if a.shape[1:] != (d_in,) or b.shape != (d_out, len(a)):
                raise ValueError(
                    f"{folder / WEIGHTS_FILE} does not fit its configuration: the factors of {path} are "
                    f"{list(a.shape)} and {list(b.shape)}, and the matrix is {d_out} x {d_in}."
                )
            layers[path] = LayerDelta(A=a, B=b)
        return cls(setup.backbone, setup.hyperparameters, config, Delta(layers), tensors)

    def save(self, folder: Path) -> None:
        """Write the editor's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder, EditorTensors(self.tensors(), {}), 0)
        write_config(folder, self.editor)

    def tensors(self) -> dict[str, Tensor]:
        """All its numbers by their names in the file."""
        factors = {
            f"{ADAPTER}{path}.{name}": tensor
            for path, layer in self.adapter.layers.items()
            for name, tensor in layer.tensors().items()
        }
        return factors | self.numbers

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.editor.model_dump_json(exclude={"metrics"}).encode())
        digest.update(repr(self.config).encode())
        for _, tensor in sorted(self.tensors().items()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def training_in_words(self) -> str:
        return self.editor.training_in_words

    # ---- edits ---------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def retriever(self) -> Retriever:
        """Picks the stored edits that a prompt is about."""

    @property
    def everywhere(self) -> bool:
        """Whether prompts that no edit is about see the adapter, too."""
        return False

    def learn_scope(self, pairs: Callable[[], Sequence[Pair]]) -> None:
        """What the retriever is to learn of pairs, once the adapter has; nothing unless a method says so."""

    def propose(self, requests: Sequence[EditRequest]) -> list[Rewrite]:
        return [self.rewrite((StoredEdit(r.prompt, r.target, r.subject),)) for r in requests]

    def rewrite(self, stored: tuple[StoredEdit, ...]) -> Rewrite:
        """The stored edits as a change."""
        return Rewrite(stored, self.retriever, *self.words, self.adapter, self.everywhere)

    def combine(self, changes: Sequence[Rewrite]) -> Rewrite:
        first, *others = changes
        return first.joined(others)
