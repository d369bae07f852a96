"""A session as a folder, or as a zip file of one: `session.json` says what was asked for,
`changes.safetensors` holds the weight changes.

It loads again bit for bit, with its undo history, on the base model and the editors it was made with.
"""

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .changes import Change, Delta, LayerDelta
from .export import is_export, read_export
from .methods import get_method, hyperparameters
from .request import EditRequest
from .session import Edit, Edits, EditSession
from .studio import Studio

SESSION, CHANGES = "session.json", "changes.safetensors"
FORMAT = 1
LARGEST = {SESSION: 64 << 20, CHANGES: 4 << 30}  # bytes of a packed file, unpacked
# what a broken zip file raises: cut short, locked, packed in a way that is not known here
_BROKEN = (KeyError, OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SavedEdit(_Told):
    """One edit: what was asked for, by which method; whether its change lies in the file, or is made anew by
    the method when it is loaded; whether it was made on top of the others, and how many further edits are
    in it.
    """

    request: EditRequest
    method: str
    hyperparameters: dict[str, Any] | None
    stored: bool
    on_top: bool = False
    more: int = 0


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


def is_session(path: Path) -> bool:
    """Whether a folder or a zip file holds a session."""
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as packed:
                return SESSION in packed.namelist()
        except _BROKEN:  # its directory cannot be read
            return False
    return (path / SESSION).is_file()


def save_session(session: EditSession, studio: Studio, path: Path) -> Path:
    """Write a session into a folder, or a file named .zip, new or with an earlier session in it; returns it.
    ValueError where it holds something else.
    """
    if path.suffix != ".zip":
        return _save(session, studio, path)
    if path.exists() and not is_session(path):
        raise ValueError(f"{path} is there already and holds no session; choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as making:
        folder = _save(session, studio, Path(making) / "session")
        packed = Path(making) / "session.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name in (SESSION, CHANGES):
                archive.write(folder / name, name)
        os.replace(packed, path)
    return path


def _save(session: EditSession, studio: Studio, folder: Path) -> Path:
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
                SavedEdit(
                    request=edit.request,
                    method=edit.method,
                    hyperparameters=set_values,
                    stored=stored,
                    on_top=edit.on_top,
                    more=edit.more,
                )
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


def load_session(path: Path, studio: Studio) -> EditSession:
    """The session that a folder or a zip file holds; or the edits of an export, as one that adds to others.
    ValueError where it cannot be read, or was made on another base model or with another editor.
    """
    if is_export(path):
        return _of_export(path, studio)
    if not path.is_file():
        return _load(path, studio)
    with tempfile.TemporaryDirectory(prefix="instructedit-session-") as making:
        return _load(_unpacked(path, Path(making)), studio)


def _of_export(path: Path, studio: Studio) -> EditSession:
    delta, told = read_export(path)
    _check_base(path, told.base_model, told.base_fingerprint, studio)
    if wrong := _misfit(delta, studio):
        raise ValueError(f"{path}: the change does not fit {wrong}.")
    *others, last = told.edits
    try:
        request = TypeAdapter(EditRequest).validate_python(
            {field.name: last[field.name] for field in fields(EditRequest) if field.name in last}
        )
        method = get_method(str(last.get("method"))).name
    except ValueError as error:
        raise ValueError(f"{path} names no edit that can be gone on from: {_first(error)}.") from error
    return EditSession().add(Edit(request, method, delta, on_top=True, more=len(others)))


def _misfit(delta: Delta, studio: Studio) -> str:
    """The first matrix of a change that the base model lacks or has in another shape; none where all fit."""
    present = dict(studio.backbone.model.named_modules())
    for name, layer in delta.layers.items():
        if name not in present or layer.shape != studio.backbone.shape(name):
            return name
    return ""


def _check_base(path: Path, name: str, fingerprint: str, studio: Studio) -> None:
    """ValueError where edits were made on another base model than the one that is loaded."""
    here = studio.backbone.fingerprint
    if fingerprint != here:
        raise ValueError(
            f"The edits in {path} were made on {name} (weights {fingerprint}), and "
            f"{studio.backbone.published_name} is loaded (weights {here}); open that model instead."
        )


def _unpacked(path: Path, folder: Path) -> Path:
    """The two files of a zip file, by their names alone; what else lies in it is left there."""
    try:
        with zipfile.ZipFile(path) as packed:
            for name in (SESSION, CHANGES):
                if packed.getinfo(name).file_size > LARGEST[name]:
                    raise ValueError(f"{name} is larger than {LARGEST[name] >> 20} MB")
                with packed.open(name) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except _BROKEN as error:
        raise ValueError(f"{path.name} cannot be read as a session: {str(error)[:200]}.") from error
    return folder


def _load(folder: Path, studio: Studio) -> EditSession:
    saved = _read(folder)
    _check_base(folder, saved.base_model, saved.base_fingerprint, studio)
    for name, made in saved.editors.items():
        try:
            found = studio.method(name).fingerprint
        except ValueError as error:
            raise ValueError(f"{folder / SESSION} has edits by {name!r}: {error}") from error
        if found != made:
            raise ValueError(
                f"The session in {folder} has edits by {name} with the editor, settings or text of "
                f"statistics {made}, and here are {found}; load it with that editor, or the same --text."
            )
    try:
        tensors = load_file(folder / CHANGES)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / CHANGES} cannot be read: {error}.") from error
    changes = _layers(tensors)
    made_edits = [
        _edit(edit, n, changes.get(str(n), {}), studio, folder) for n, edit in enumerate(saved.edits)
    ]

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
        raise ValueError(f"{path} cannot be read as a session: {_first(error)}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a session: {error}.") from error
    return saved


def _first(error: ValueError) -> str:
    """What an error says; of several, where the first is and what it says."""
    if not isinstance(error, ValidationError):
        return str(error).rstrip(".")
    wrong = error.errors()[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"


def _tensors(change: Change, n: int) -> dict[str, Tensor]:
    if not isinstance(change, Delta):
        return {}
    return {
        f"{n}.{path}.{name}": tensor.clone()
        for path, layer in change.layers.items()
        for name, tensor in layer.tensors().items()
    }


def _layers(tensors: dict[str, Tensor]) -> dict[str, dict[str, dict[str, Tensor]]]:
    """A file's tensors by the number of their edit, the matrix and their name there."""
    found: dict[str, dict[str, dict[str, Tensor]]] = {}
    for key, tensor in tensors.items():
        number, _, rest = key.partition(".")
        path, _, name = rest.rpartition(".")
        found.setdefault(number, {}).setdefault(path, {})[name] = tensor
    return found


def _edit(
    saved: SavedEdit, n: int, layers: dict[str, dict[str, Tensor]], studio: Studio, folder: Path
) -> Edit:
    try:
        hyper = hyperparameters(saved.method, saved.hyperparameters) if saved.hyperparameters else None
        if not saved.stored:
            return studio.propose(saved.request, saved.method, hyper=hyper)[0]
    except ValueError as error:
        raise ValueError(f"{folder / SESSION}: edit {n + 1} cannot be made: {error}") from error
    try:
        change = Delta({path: LayerDelta(**parts) for path, parts in layers.items()})
        wrong = _misfit(change, studio)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CHANGES}: the change of edit {n + 1} is broken: {error}.") from error
    if wrong or not layers:
        what = f"does not fit {wrong}" if wrong else "is missing"
        raise ValueError(f"{folder / CHANGES}: the change of edit {n + 1} {what}.")
    return Edit(
        saved.request, saved.method, change, hyperparameters=hyper, on_top=saved.on_top, more=saved.more
    )
