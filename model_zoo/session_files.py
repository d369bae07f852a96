"""A session as a folder: `session.json` for what was asked for, `changes.safetensors` for the weight changes.

It loads again bit for bit, with its undo history, on the base model and the editors it was made with.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .changes import Change, Delta, LayerDelta
from .methods import hyperparameters
from .request import EditRequest
from .session import Edit, Edits, EditSession
from .studio import Studio

SESSION, CHANGES = "session.json", "changes.safetensors"
FORMAT = 1


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SavedEdit(_Told):
    """One edit: what was asked for, by which method; whether its change lies in the file, or is made anew by
    the method when it is loaded.
    """

    request: EditRequest
    method: str
    hyperparameters: dict[str, Any] | None
    stored: bool


class Place(_Told):
    """An edit's place in a stack: its number, its strength and whether it is on."""

    edit: int
    strength: float
    on: bool


Stack = list[Place]


class SavedSession(_Told):
    """What `session.json` holds. `editors`: the fingerprint of every method that made an edit."""

    format_version: int
    base_model: str
    base_fingerprint: str
    editors: dict[str, str]
    versions: dict[str, str]
    edits: list[SavedEdit]
    stack: Stack
    past: list[Stack]
    future: list[Stack]


def is_session(folder: Path) -> bool:
    return (folder / SESSION).is_file()


def save_session(session: EditSession, studio: Studio, folder: Path) -> Path:
    """Write a session into a folder, new or with an earlier session in it; returns it. ValueError where it
    holds something else.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not is_session(folder)):
        raise ValueError(f"{folder} is not empty and holds no earlier session; choose a new folder.")
    numbers: dict[int, int] = {}
    edits: list[SavedEdit] = []
    tensors: dict[str, Tensor] = {}

    def number(edit: Edit) -> int:
        if id(edit.change) not in numbers:
            n = numbers[id(edit.change)] = len(edits)
            set_values = edit.hyperparameters.model_dump() if edit.hyperparameters else None
            stored = isinstance(edit.change, Delta)
            edits.append(
                SavedEdit(request=edit.request, method=edit.method, hyperparameters=set_values, stored=stored)
            )
            tensors.update(_tensors(edit.change, n))
        return numbers[id(edit.change)]

    def stack(own: Edits) -> Stack:
        return [Place(edit=number(edit), strength=edit.strength, on=edit.on) for edit in own]

    saved = SavedSession(
        format_version=FORMAT,
        base_model=studio.backbone.published_name,
        base_fingerprint=studio.backbone.fingerprint,
        stack=stack(session.edits),
        past=[stack(own) for own in session.past],
        future=[stack(own) for own in session.future],
        edits=edits,
        editors={name: studio.method(name).fingerprint for name in {edit.method for edit in edits}},
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as making:  # whole files only
        changes, told = Path(making) / CHANGES, Path(making) / SESSION
        save_file(tensors, changes, metadata={"format_version": str(FORMAT)})
        told.write_text(saved.model_dump_json(indent=1) + "\n", encoding="utf-8")
        os.replace(changes, folder / CHANGES)
        os.replace(told, folder / SESSION)
    return folder


def load_session(folder: Path, studio: Studio) -> EditSession:
    """The session that a folder holds. ValueError where it cannot be read, or was made on another base model
    or with another editor.
    """
    saved = _read(folder)
    here = studio.backbone.fingerprint
    if saved.base_fingerprint != here:
        raise ValueError(
            f"The session in {folder} was made on {saved.base_model} (weights {saved.base_fingerprint}), and "
            f"{studio.backbone.published_name} is loaded (weights {here}); open that model instead."
        )
    for name, made in saved.editors.items():
        if (found := studio.method(name).fingerprint) != made:
            raise ValueError(
                f"The session in {folder} has edits by {name} with the editor or settings {made}, and here "
                f"are {found}; load it with that editor."
            )
    try:
        tensors = load_file(folder / CHANGES)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / CHANGES} cannot be read: {error}.") from error
    made_edits = [_edit(edit, n, tensors, studio, folder) for n, edit in enumerate(saved.edits)]

    def stack(places: Iterable[Place]) -> Edits:
        return tuple(
            replace(made_edits[place.edit], strength=place.strength, on=place.on) for place in places
        )

    return EditSession(
        stack(saved.stack),
        tuple(stack(own) for own in saved.past),
        tuple(stack(own) for own in saved.future),
    )


def _read(folder: Path) -> SavedSession:
    path = folder / SESSION
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.get("format_version") if isinstance(data, dict) else None
        if version != FORMAT:
            raise ValueError(f"found session format {version}, this program reads format {FORMAT}")
        saved = SavedSession.model_validate(data)
        places: Sequence[Place] = [
            place for own in (saved.stack, *saved.past, *saved.future) for place in own
        ]
        if any(not 0 <= place.edit < len(saved.edits) for place in places):
            raise ValueError("a stack names an edit that is not there")
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise ValueError(f"{path} cannot be read as a session: {where}: {wrong['msg']}.") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a session: {error}.") from error
    return saved


def _tensors(change: Change, n: int) -> dict[str, Tensor]:
    if not isinstance(change, Delta):
        return {}
    return {
        f"{n}.{path}.{name}": tensor.clone()
        for path, layer in change.layers.items()
        for name, tensor in layer.tensors().items()
    }


def _edit(saved: SavedEdit, n: int, tensors: dict[str, Tensor], studio: Studio, folder: Path) -> Edit:
    hyper = hyperparameters(saved.method, saved.hyperparameters) if saved.hyperparameters else None
    if not saved.stored:
        return studio.propose(saved.request, saved.method, hyper=hyper)[0]
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, rest = key.partition(".")
        if number == str(n):
            path, _, name = rest.rpartition(".")
            layers.setdefault(path, {})[name] = tensor
    try:
        change = Delta({path: LayerDelta(**parts) for path, parts in layers.items()})
        wrong = [path for path, layer in change.layers.items() if layer.shape != studio.backbone.shape(path)]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / CHANGES}: the change of edit {n + 1} is broken: {error}.") from error
    if wrong or not layers:
        what = f"does not fit {wrong[0]}" if wrong else "is missing"
        raise ValueError(f"{folder / CHANGES}: the change of edit {n + 1} {what}.")
    return Edit(saved.request, saved.method, change, hyperparameters=hyper)
