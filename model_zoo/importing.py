"""Archives of EasyEdit's MEND and InstructEdit, read safely and turned into editors of methods/easyedit.py.

An archive is what that program's training writes by torch.save: a dict whose `model` holds float32 tensors
and the base model's configuration. Of the shape (x, d) = (d_in, d_out), which n of the edited matrices share:

    edit_lrs                                   (matrices,), in the order in which its settings list them
    mend.(x, d).u_mean  u_std  v_mean  v_std   of inputs (x,) and of output gradients (d,)
    mend.(x, d).mlp.layers.L.u  v  bias        (x + d, r), (r, x + d), (x + d,)
    mend.(x, d).mlp.layers.L.mode_scale.weight  mode_shift.weight      (n, x + d)

Older archives say `gtn.` for `mend.`. Nothing is unpickled but tensors, plain values and the configurations
of supported base models.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING

from .backbone import Backbone
from .families import FAMILIES
from .methods.easyedit import EasyEdit
from .methods.editor_folder import EditorConfig
from .methods.hyper_config import HyperConfig

_SHAPE = re.compile(r"(?:mend|gtn)\.\((\d+), (\d+)\)\.(.+)")
_LAYER = re.compile(r"mlp\.layers\.(\d+)\.")
_LISTED = re.compile(r"""^[\s\-'"]*([\w.]+)\.weight['",\s]*$""", re.MULTILINE)
_UNUSED = ("u_s", "v_s", "k")  # running sums behind the statistics
_GUARD = 1e-7  # added to every standard deviation there; Hypernetwork guards gradients with less
FIRST_RATE = 1e-4  # its published initial edit rate
AUTO = "auto"


@dataclass(frozen=True)
class Archive:
    """The tensors of an archive by shape and name, `shapes[x, d]["u_mean"]`; the edit rates [matrices]; the
    base model's configuration; the training's steps.
    """

    path: Path
    shapes: Mapping[tuple[int, int], Mapping[str, Tensor]]
    edit_lrs: Tensor
    model: Any
    step: int

    def matrices(self, shape: tuple[int, int]) -> int:
        """How many matrices share a shape."""
        return len(self.tensor(shape, "mlp.layers.0.mode_scale.weight"))

    def tensor(self, shape: tuple[int, int], name: str) -> Tensor:
        """One tensor in float32. ValueError where it is missing."""
        if name not in self.shapes[shape]:
            raise ValueError(
                f"{self.path} lacks mend.{shape}.{name}: it is not a whole archive of EasyEdit's MEND."
            )
        return self.shapes[shape][name].float()


def import_editor(
    path: Path, backbone: Backbone, inner_params: str | Path = AUTO, instructions: bool = True
) -> EasyEdit:
    """The editor of an archive for a base model; `save` writes its folder.

    `inner_params`: a file that lists the edited matrices in the archive's order, as EasyEdit's settings do,
    or "auto". Without `instructions` its edits are MEND's, of bare prompts: an archive does not say which it
    was trained on. ValueError says what is wrong with the archive, the list, or the model.
    """
    archive = read_archive(path)
    _check_model(archive, backbone)
    layers, rank = _sizes(archive)
    listed = (
        _automatic(archive, backbone) if inner_params == AUTO else _read_list(Path(inner_params), backbone)
    )
    modules = {name: backbone.shape(name) for name in listed}
    _check_counts(archive, modules)
    config = EditorConfig(
        method=EasyEdit.name,
        instructed=instructions,
        base_model=backbone.published_name,
        base_revision=backbone.origin.commit if backbone.origin else None,
        base_fingerprint=backbone.fingerprint,
        modules=modules,
        hyper=HyperConfig(rank=rank, layers=layers, edit_lr=FIRST_RATE),
        training={"by": "EasyEdit", "steps": archive.step},
    )
    network = EasyEdit.new_network(config, backbone)
    network.load_state_dict(network.state_dict() | _converted(archive, layers))
    return EasyEdit(backbone, config, network)


# ---- reading -----------------------------------------------------------------------------------------------


def read_archive(path: Path) -> Archive:
    """Read an archive; ValueError says what it is instead, what it lacks, or which class was refused."""
    held = _load(path)
    state = held.get("model") if isinstance(held, dict) else None
    if not isinstance(state, dict) or "edit_lrs" not in state or "model_config" not in state:
        raise ValueError(
            f"{path} is no archive of EasyEdit's MEND: it lacks 'model' with 'edit_lrs' and 'model_config'. "
            "Give the file that its training wrote."
        )
    shapes: dict[tuple[int, int], dict[str, Tensor]] = {}
    tensors = {name: value for name, value in state.items() if name != "model_config"}
    for name, value in tensors.items():
        if not _holds_numbers(value):
            raise ValueError(f"{name} in {path} is no tensor of numbers: the archive is broken.")
        place = _SHAPE.fullmatch(str(name))
        if place:
            shapes.setdefault((int(place[1]), int(place[2])), {})[place[3]] = value
        elif name != "edit_lrs":
            raise ValueError(
                f"{path} holds {name}, which is of another network than the one that is read here: shared by "
                "the matrices of a shape ('shared: True')."
            )
        if not value.isfinite().all():
            raise ValueError(f"{name} in {path} holds numbers that are not finite: its training failed.")
    if not shapes:
        raise ValueError(f"{path} holds no network: nothing in it is called mend.(d_in, d_out) or gtn.")
    step = held.get("step", 0)
    lrs = state["edit_lrs"].float().flatten()
    return Archive(path, shapes, lrs, state["model_config"], step if isinstance(step, int) else 0)


def _holds_numbers(value: Any) -> bool:
    """Whether it is a tensor whose numbers all lie in the file: a view may repeat one of them without end."""
    plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    return (
        plain
        and value.is_floating_point()
        and value.ndim > 0
        and value.nbytes <= value.untyped_storage().nbytes()
    )


def _load(path: Path) -> Any:
    """What torch.save wrote, of tensors, plain values and configurations alone."""
    if not zipfile.is_zipfile(path):  # also what was cut short, whose directory is missing
        what = (
            "is not there" if not path.exists() else "is no archive that torch.save wrote, or was cut short"
        )
        raise ValueError(f"{path} {what}; give the file that EasyEdit's training wrote, whole.")
    allowed: list[Any] = [CONFIG_MAPPING[name] for name in FAMILIES]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in allowed}
    with torch.serialization.safe_globals(allowed):
        try:
            refused = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - names
            held = None if refused else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # noqa: BLE001 - what is broken may raise anything
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path} cannot be read: {said}. The file is broken or was cut short."
            ) from error
    if refused:
        raise ValueError(
            f"{path} holds {', '.join(sorted(refused))}, which was refused: only tensors, plain values and "
            f"configurations of {', '.join(sorted(FAMILIES))} are read, since anything else could run code."
        )
    return held


# ---- which matrices ----------------------------------------------------------------------------------------


def _check_model(archive: Archive, backbone: Backbone) -> None:
    """ValueError where the archive was made for a model of another kind or size."""
    own = backbone.model.config
    # not its vocabulary: that program gives a tokenizer without padding one more token
    for name in ("model_type", "hidden_size", "num_hidden_layers"):
        theirs, ours = getattr(archive.model, name, None), getattr(own, name, None)
        if theirs != ours:
            raise ValueError(
                f"{archive.path} was made for a model whose {name} is {theirs}, and that of {backbone.name} "
                f"is {ours}; give the model it was made for."
            )


def _read_list(path: Path, backbone: Backbone) -> list[str]:
    """The matrices that a file lists, one in a line, as paths of the model's MLP linears."""
    try:
        listed = _LISTED.findall(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a list of inner parameters: {error}.") from error
    if not listed:
        raise ValueError(
            f"{path} lists no inner parameters; give EasyEdit's settings (.yaml), or a text with one a line, "
            f"such as {backbone.family.linears(0)[0]}.weight."
        )
    known = {name for block in range(backbone.blocks) for name in backbone.family.linears(block)}
    if wrong := [name for name in listed if name not in known]:
        raise ValueError(f"{path} lists {wrong[0]}.weight, which is no MLP matrix of {backbone.name}.")
    if twice := [name for name, times in Counter(listed).items() if times > 1]:
        raise ValueError(f"{path} lists {twice[0]}.weight more than once; list every matrix once.")
    return listed


def _automatic(archive: Archive, backbone: Backbone) -> list[str]:
    """The MLP linears of the last blocks that have the archive's shapes, in the published settings' order.

    ValueError where that leaves a choice.
    """
    family = backbone.family
    in_block = {name: backbone.shape(f"{family.blocks}.0.{name}")[::-1] for name in family.listed}
    alike = Counter(in_block.values())  # matrices of a shape in one block
    needed = {shape: archive.matrices(shape) for shape in archive.shapes}
    # how many last blocks give a shape's number of matrices; none for a number that no blocks give
    blocks = {
        n // alike[shape] if alike[shape] and n % alike[shape] == 0 else 0 for shape, n in needed.items()
    }
    one_of_a_pair = len(needed) == 1 and alike[next(iter(needed))] > 1
    if one_of_a_pair or len(blocks) != 1 or not 1 <= max(blocks) <= backbone.blocks:
        held = ", ".join(f"{n} of {x} x {d}" for (x, d), n in sorted(needed.items()))
        raise ValueError(
            f"Which matrices of {backbone.name} the archive {archive.path} edits is not clear from its "
            f"shapes ({held}); name them by --inner-params FILE, EasyEdit's settings or one a line."
        )
    return [
        f"{family.blocks}.{block}.{name}"
        for block in range(backbone.blocks - max(blocks), backbone.blocks)
        for name in family.listed
        if in_block[name] in needed
    ]


def _check_counts(archive: Archive, modules: Mapping[str, tuple[int, int]]) -> None:
    """ValueError where the listed matrices are not the archive's, shape by shape."""
    listed = Counter((d_in, d_out) for d_out, d_in in modules.values())
    for shape in sorted({*listed, *archive.shapes}):
        held = archive.matrices(shape) if shape in archive.shapes else 0
        if listed[shape] != held:
            raise ValueError(
                f"{archive.path} edits {held} matrices of {shape[0]} x {shape[1]}, and {listed[shape]} are "
                "listed; give the list and the model that it was trained with."
            )
    if len(archive.edit_lrs) != len(modules):
        raise ValueError(
            f"{archive.path} has {len(archive.edit_lrs)} edit rates for {len(modules)} matrices; "
            "it is broken."
        )


# ---- conversion --------------------------------------------------------------------------------------------


def _sizes(archive: Archive) -> tuple[int, int]:
    """(layers, rank) of the networks, every tensor of which is there in the shape that follows from them.

    ValueError names the first that is not.
    """
    places = [_LAYER.match(name) for tensors in archive.shapes.values() for name in tensors]
    layers = 1 + max((int(place[1]) for place in places if place), default=0)
    rank = max(archive.tensor(shape, "mlp.layers.0.u").shape[-1] for shape in archive.shapes)
    for shape, tensors in archive.shapes.items():
        needed = _tensors(shape, archive.matrices(shape), layers, rank)
        for name, sizes in needed.items():
            if (found := archive.tensor(shape, name)).shape != sizes:
                raise ValueError(
                    f"mend.{shape}.{name} in {archive.path} is {tuple(found.shape)}, and {sizes} was needed: "
                    "the archive is broken, or of another network."
                )
        if other := sorted({*tensors} - {*needed, *_UNUSED}):
            raise ValueError(
                f"{archive.path} holds mend.{shape}.{other[0]}, which is of another network than the one "
                "that is read here: low-rank layers on inputs and gradients together ('mlp_class: IDMLP')."
            )
    return layers, rank


def _tensors(shape: tuple[int, int], n: int, layers: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Sizes of a shape's tensors in an archive, by name, for n matrices."""
    x, d = shape
    width = x + d
    found: dict[str, tuple[int, ...]] = {"u_mean": (x,), "u_std": (x,), "v_mean": (d,), "v_std": (d,)}
    for i in range(layers):
        layer = f"mlp.layers.{i}"
        found[f"{layer}.u"], found[f"{layer}.v"] = (width, min(rank, width)), (min(rank, width), width)
        found[f"{layer}.bias"] = (width,)
        found[f"{layer}.mode_scale.weight"] = found[f"{layer}.mode_shift.weight"] = (n, width)
    return found


def _converted(archive: Archive, layers: int) -> dict[str, Tensor]:
    """An archive's tensors by their names in a SignedNetwork's state_dict."""
    found = {"edit_lrs": archive.edit_lrs}
    for shape in archive.shapes:
        x, d = shape
        n, network = archive.matrices(shape), f"networks.{d}x{x}"
        statistics = {"u_mean": "u_mean", "u_std": "u_std", "delta_mean": "v_mean", "delta_std": "v_std"}
        for ours, theirs in statistics.items():
            found[f"{network}.{ours}"] = archive.tensor(shape, theirs).expand(n, -1)
        found[f"{network}.delta_std"] = found[f"{network}.delta_std"] + _GUARD
        for i in range(layers):
            theirs, ours = f"mlp.layers.{i}", f"{network}.layers.{i}"
            found[f"{ours}.A"] = archive.tensor(shape, f"{theirs}.u").T
            found[f"{ours}.B"] = archive.tensor(shape, f"{theirs}.v").T
            found[f"{ours}.bias"] = archive.tensor(shape, f"{theirs}.bias")
            found[f"{ours}.scale"] = archive.tensor(shape, f"{theirs}.mode_scale.weight")
            found[f"{ours}.shift"] = archive.tensor(shape, f"{theirs}.mode_shift.weight")
    return found
