"""InstructEdit (Zhang et al. 2024, arXiv 2402.16123): one unified editor per model, conditioned on an instruction.

The edit's gradient is taken on `Task / Description / Input` + target, so the instruction shapes what the hypernetwork sees.
A request whose instruction is None is a MEND edit through the same code.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..backbone import Backbone
from ..delta import Delta, LayerDelta
from ..joining import Joined, ended
from ..tasks.request import EditRequest
from . import MethodInfo
from .hypernetwork import Captured, HyperConfig, Hypernetwork, keep_tokens
from .ridge import solve

CONFIG_FILE, WEIGHTS_FILE = "config.json", "editor.safetensors"
NAME = "instructedit"


class EditorConfig(BaseModel):
    """`config.json` of an editor folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    method: str = NAME
    instructed: bool = True  # False: trained without instructions, which makes it MEND
    base_model: str  # its name or repo id
    base_revision: str | None = None  # the commit it was loaded at, if it came from the Hub
    base_fingerprint: str | None = None  # of its weights; see Backbone.fingerprint
    modules: dict[str, tuple[int, int]]  # path -> (d_out, d_in)
    hyper: HyperConfig = HyperConfig()
    tasks: tuple[str, ...] = ()
    target_end: str = ""  # joined to the target in the edit's own row, so that the target ends as a word; "" as in the paper
    ridge_lambda: float = 0.01
    ridge_mu: float = 0.1
    training: dict = {}
    metrics: dict = {}


def read_config(folder: Path) -> EditorConfig:
    """An editor folder's configuration; ValueError names the folder and the first thing that is wrong."""
    try:
        return EditorConfig.model_validate(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"{folder / CONFIG_FILE} is not an editor's configuration: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from error
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"No editor could be loaded from {folder}: {str(error).splitlines()[0]}") from error


def write_config(folder: Path, config: EditorConfig) -> None:
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def check_base(config: EditorConfig, backbone: Backbone, folder: Path) -> None:
    """ValueError naming both sides when an editor was trained for other weights than the backbone's."""
    made_for = config.base_model + (f" at revision {config.base_revision[:8]}" if config.base_revision else "")
    loaded = backbone.name + (f" at revision {backbone.origin.commit[:8]}" if backbone.origin and backbone.origin.commit else "")
    for path, shape in config.modules.items():
        found = backbone.shape(path) if path in dict(backbone.model.named_modules()) else None
        if found != tuple(shape):
            here = "no such module" if found is None else f"{found[0]}x{found[1]} there"
            raise ValueError(
                f"The editor in {folder} was made for {made_for}, whose {path} is {shape[0]}x{shape[1]}; "
                f"{loaded} has {here}. Choose an editor made for {loaded}."
            )
    if config.base_fingerprint and config.base_fingerprint != backbone.fingerprint:
        raise ValueError(
            f"The editor in {folder} was made for {made_for} (weights {config.base_fingerprint}), but {loaded} has other weights "
            f"({backbone.fingerprint}). Choose an editor made for {loaded}, or load the base model it was made for."
        )


def without_prefix(backbone: Backbone, requests: Sequence[EditRequest], real: Tensor) -> Tensor:
    """The mask of real tokens [rows, T] with those of each request's instruction prefix switched off."""
    kept = real.clone()
    for i, request in enumerate(requests):
        prefix = request.text.removesuffix(request.prompt).rstrip()  # the space before the prompt belongs to the prompt's first token
        kept[i, : len(backbone.tokenizer(prefix)["input_ids"]) if prefix else 0] = False
    return kept


class InstructEdit:
    """A trained editor bound to its backbone."""

    name = NAME

    def __init__(self, backbone: Backbone, config: EditorConfig, network: Hypernetwork, covariance: dict[str, Tensor] | None = None):
        self.backbone, self.config = backbone, config
        self.network = network.to(backbone.device).eval()
        self.covariance = covariance or {}

    @classmethod
    def load(cls, backbone: Backbone, folder: Path) -> "InstructEdit":
        """Read an editor folder of this method. ValueError names what does not fit: missing or broken files, another base model's shapes."""
        config = read_config(folder)
        check_base(config, backbone, folder)
        if config.method != cls.name:
            raise ValueError(f"The editor in {folder} was trained for the method {config.method}, and {cls.name} was asked for.")
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"No editor could be loaded from {folder}: {str(error).splitlines()[0]}") from error
        network = Hypernetwork(config.modules, config.hyper)
        roots = {k.removeprefix("covariance."): v.float() for k, v in tensors.items() if k.startswith("covariance.")}
        try:
            network.load_state_dict({k: v.float() for k, v in tensors.items() if not k.startswith("covariance.")})
        except RuntimeError as error:
            raise ValueError(f"{folder / WEIGHTS_FILE} does not fit its configuration: {str(error).splitlines()[-1].strip()}") from error
        return cls(backbone, config, network, {path: root.T @ root for path, root in roots.items()})

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.config.model_dump_json(exclude={"metrics"}).encode())
        for tensor in (*self.network.state_dict().values(), *self.covariance.values()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: Path, covariance_rank: int = 128) -> None:
        """Write `config.json` and `editor.safetensors` (float16; the key covariance as its leading eigenvectors)."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for name, tensor in self.network.state_dict().items():
            # normalisation statistics and learning rates span more orders of magnitude than float16 holds
            exact = name.endswith(("_mean", "_std")) or name.startswith("log_lr")
            tensors[name] = tensor.cpu().to(torch.float32 if exact else torch.float16).contiguous()
        for path, matrix in self.covariance.items():
            values, vectors = torch.linalg.eigh(matrix.double())
            root = (vectors[:, -covariance_rank:] * values[-covariance_rank:].clamp(min=0).sqrt()).T
            tensors[f"covariance.{path}"] = root.half().contiguous()
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        write_config(folder, self.config)

    def capture(self, rows: Sequence[Joined], bare: Sequence[EditRequest] | None = None) -> dict[str, Captured]:
        """Kept tokens (u, delta) of each row's edit gradient on the base model, per edited matrix; of the requests `bare`, if
        given, without their instruction's tokens."""
        inputs, grads, real = self.backbone.capture(rows, list(self.config.modules))
        if bare is not None:
            real = without_prefix(self.backbone, bare, real)
        return {path: keep_tokens(inputs[path], grads[path], real) for path in self.config.modules}

    def join(self, request: EditRequest) -> Joined:
        """The row whose gradient makes the edit: instruction prefix, prompt and target."""
        if not self.config.instructed:
            request = request.plain()
        return self.backbone.join(request.text, ended(request.target, self.config.target_end))

    def propose(self, requests: Sequence[EditRequest], prefix_rows: bool = True) -> list[Delta]:
        """`prefix_rows=False` leaves out the rows that stand on the instruction's tokens (for the study of directions)."""
        captured = self.capture([self.join(request) for request in requests], None if prefix_rows else requests)
        with torch.no_grad():
            factors = self.network(captured)
        deltas = []
        for i, request in enumerate(requests):
            layers = {}
            for path, layer in factors.items():
                kept = captured[path].kept[i]
                layers[path] = LayerDelta(A=layer.A[i][kept], B=layer.B[i][:, kept], K=captured[path].u[i][kept])
            deltas.append(Delta(layers, {**request.to_dict(), "method": self.name, "base_model": self.backbone.name}))
        return deltas

    def combine(self, deltas: Sequence[Delta]) -> Delta:
        """A single edit is itself; several are solved jointly per matrix."""
        if len(deltas) == 1:
            return deltas[0]
        c = self.config
        layers = {path: solve([d.layers[path] for d in deltas], self.covariance.get(path), c.ridge_lambda, c.ridge_mu) for path in c.modules}
        return Delta(layers, {"edits": [dict(d.request) for d in deltas], "method": self.name}, kind="stack")


INFO = MethodInfo(
    name=NAME,
    pretty_name="InstructEdit",
    reference_url="https://arxiv.org/abs/2402.16123",
    needs_editor=True,
    supports_instruction=True,
    low_rank=True,
    load=InstructEdit.load,
)
