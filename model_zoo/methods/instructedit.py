"""InstructEdit (Zhang et al. 2024, arXiv 2402.16123): one unified editor per model, conditioned on an instruction.

The edit's gradient is taken on `Task / Description / Input` + target, so the instruction shapes what the hypernetwork sees.
A request whose instruction is None is a MEND edit through the same code.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..backbone import Backbone
from ..delta import Delta, Factors, LayerDelta, LayerFactors
from ..joining import Joined, ended
from ..request import EditRequest
from . import MethodInfo
from .hypernetwork import LATER_HEADS, Captured, HyperConfig, Hypernetwork, Update, keep_tokens
from .instruction import Instructions
from .ridge import LAMBDA, MU, dense_solution, penalty, solve
from .strength import least_strengths

CONFIG_FILE, WEIGHTS_FILE = "config.json", "editor.safetensors"
FORMAT_VERSION = 3  # 1 read instructions in another way; 2 had none of LATER_HEADS
NAME = "instructedit"


class EditorConfig(BaseModel):
    """`config.json` of an editor folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    method: str = NAME
    instructed: bool = True  # False: trained without instructions, which makes it MEND
    base_model: str  # its name or repo id
    base_revision: str | None = None  # the commit it was loaded at, if it came from the Hub
    base_fingerprint: str | None = None  # of its weights; see Backbone.fingerprint
    modules: dict[str, tuple[int, int]]  # path -> (d_out, d_in)
    hyper: HyperConfig = HyperConfig()
    tasks: tuple[str, ...] = ()
    target_end: str = ""  # joined to the target in the edit's own row, so that the target ends as a word; "" as in the paper
    ridge_lambda: float = LAMBDA  # of the joint solve, where the network has not learned its own
    ridge_mu: float = MU
    training: dict = {}
    metrics: dict = {}

    @property
    def reads_scopes(self) -> bool:
        """Whether it was trained on instructions that say how far an edit reaches."""
        return self.instructed and self.training.get("scope_share", 0) > 0


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


def request_row(backbone: Backbone, request: EditRequest, target_end: str = "") -> Joined:
    """The row whose gradient makes an edit, with the number of its instruction's tokens."""
    prefix = request.text.removesuffix(request.prompt).rstrip()  # the space before the prompt belongs to the prompt's first token
    row = backbone.join(request.text, ended(request.target, target_end))
    return replace(row, prefix=len(backbone.tokenizer(prefix)["input_ids"]) if prefix else 0)


def prefix_mask(rows: Sequence[Joined], width: int) -> Tensor:
    """[rows, width] bool: the instruction's tokens of each row."""
    return torch.arange(width) < torch.tensor([row.prefix for row in rows])[:, None]


def token_width(backbone: Backbone) -> int:
    """Width of what an editor reads of an instruction's tokens: their embeddings."""
    return backbone.model.get_input_embeddings().embedding_dim


@dataclass(frozen=True)
class EditCapture:
    """What the network sees of E edits: per edited matrix the kept tokens, and the instructions, where it reads them."""

    layers: dict[str, Captured]
    instructions: Instructions | None = None
    plain: Sequence[Joined] = ()  # the edits' rows without instructions; a fitted network asks what they need


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
        if config.format_version > FORMAT_VERSION or (config.format_version < 2 and config.hyper.instruction):
            raise ValueError(
                f"The editor in {folder} has format {config.format_version}, and this program reads format {FORMAT_VERSION}. "
                "Train it again, or use the program's version that made it."
            )
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"No editor could be loaded from {folder}: {str(error).splitlines()[0]}") from error
        network = Hypernetwork(config.modules, config.hyper, token_width(backbone))
        roots = {k.removeprefix("covariance."): v.float() for k, v in tensors.items() if k.startswith("covariance.")}
        try:
            silent = {k: v for k, v in network.state_dict().items() if config.format_version < 3 and k.split(".")[-2] in LATER_HEADS}
            network.load_state_dict(silent | {k: v.float() for k, v in tensors.items() if not k.startswith("covariance.")})
        except RuntimeError as error:
            raise ValueError(f"{folder / WEIGHTS_FILE} does not fit its configuration: {str(error).splitlines()[-1].strip()}") from error
        covariance = {path: network.covariance(path) for path in config.modules} if config.hyper.whitened else {}
        return cls(backbone, config, network, covariance or {path: root.T @ root for path, root in roots.items()})

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.config.model_dump_json(exclude={"metrics"}).encode())
        for tensor in (*self.network.state_dict().values(), *self.covariance.values()):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: Path, covariance_rank: int = 128) -> None:
        """Write `config.json` and `editor.safetensors` (float16; the key covariance as its leading eigenvectors, where the network has
        no basis that says it)."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for name, tensor in self.network.state_dict().items():
            # normalisation statistics and learning rates span more orders of magnitude than float16 holds
            exact = name.endswith(("_mean", "_std")) or name.startswith("log_lr")
            tensors[name] = tensor.cpu().to(torch.float32 if exact else torch.float16).contiguous()
        for path, matrix in self.covariance.items() if not self.config.hyper.whitened else ():
            values, vectors = torch.linalg.eigh(matrix.double())
            root = (vectors[:, -covariance_rank:] * values[-covariance_rank:].clamp(min=0).sqrt()).T
            tensors[f"covariance.{path}"] = root.half().contiguous()
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        write_config(folder, self.config)

    def capture(
        self, rows: Sequence[Joined], prefix_rows: bool = True, under: Factors | None = None, plain: Sequence[Joined] = ()
    ) -> EditCapture:  # fmt: skip
        """Kept tokens (u, delta) of each row's edit gradient on the base model; without `prefix_rows`, not those of the instruction.
        `plain` are the same edits' rows without instructions."""
        paths = list(self.config.modules)
        inputs, grads, real = self.backbone.capture(rows, paths, under)
        prefix = prefix_mask(rows, real.shape[1]).to(real.device)
        kept = real if prefix_rows else real & ~prefix
        layers = {path: keep_tokens(inputs[path], grads[path], kept) for path in paths}
        return EditCapture(layers, self.instructions(rows) if self.network.reader is not None and prefix.any() else None, plain)

    @torch.no_grad()
    def instructions(self, rows: Sequence[Joined]) -> Instructions:
        """What is read of the rows' instructions."""
        n = max(row.prefix for row in rows)
        ids = self.backbone.batch(rows).input_ids[:, :n]
        embedded = self.backbone.model.get_input_embeddings()(ids).float()
        return Instructions(embedded.to(self.backbone.device), prefix_mask(rows, n).to(self.backbone.device))

    def updates(self, captured: EditCapture) -> dict[str, Update]:
        """The network's factors per edited matrix, A [E, n, d_in] and B [E, d_out, n]; those of a fitted network, where an instruction
        is read, as strong as it says after what the edits need alone on the base model."""
        reading = self.network.read(captured.instructions)
        found = self.network(captured.layers, reading)
        if self.network.fit is None or reading is None:
            return found
        strength = self.network.strength(reading, least_strengths(self.backbone, captured.plain, found).to(reading.device))
        return {path: replace(update, B=update.B * strength[:, None, None]) for path, update in found.items()}

    def join(self, request: EditRequest) -> Joined:
        """The row whose gradient makes the edit: instruction prefix, prompt and target."""
        return request_row(self.backbone, request if self.config.instructed else request.plain(), self.config.target_end)

    def propose(self, requests: Sequence[EditRequest], prefix_rows: bool = True, under: Delta | None = None) -> list[Delta]:
        """`prefix_rows=False` leaves out the rows that stand on the instruction's tokens (for the study of directions);
        `under` takes the gradient of a model that is edited already (for the study of sequential editing)."""
        active = under and Factors.of([under], [0] * len(requests), self.backbone.device)
        captured = self.capture([self.join(request) for request in requests], prefix_rows, active, [self.join(r.plain()) for r in requests])
        with torch.no_grad():
            updates = self.updates(captured)
        deltas = []
        for i, request in enumerate(requests):
            layers = {}
            for path, layer in updates.items():
                part = captured.layers[path]
                kept = part.kept[i]
                layers[path] = LayerDelta(A=layer.A[i][kept], B=layer.B[i][:, kept], K=part.u[i][kept] * layer.say[i][kept][:, None])
            deltas.append(Delta(layers, {**request.to_dict(), "method": self.name, "base_model": self.backbone.name}))
        return deltas

    def ridge(self, path: str) -> tuple[Tensor | float, Tensor | float]:
        """(lambda, mu) of a matrix's joint solve."""
        learned = self.network.ridge(path)
        return (self.config.ridge_lambda, self.config.ridge_mu) if learned is None else learned.unbind()

    def combine(self, deltas: Sequence[Delta]) -> Delta:
        """A single edit is itself; several are solved jointly per matrix."""
        if len(deltas) == 1:
            return deltas[0]
        with torch.no_grad():
            layers = {
                path: solve([d.layers[path] for d in deltas], self.covariance.get(path), *(float(r) for r in self.ridge(path)))
                for path in self.config.modules
            }
        return Delta(layers, {"edits": [dict(d.request) for d in deltas], "method": self.name}, kind="stack")

    def stacked(self, captured: EditCapture, updates: dict[str, Update]) -> dict[str, LayerFactors]:
        """All the captured edits solved jointly as one live change D [1, d_out, d_in]; for training through the solve."""
        layers = {}
        for path, update in updates.items():
            part = captured.layers[path]
            u, say = part.u.double(), update.say.double()[..., None]
            wanted = (say * u) @ update.A.double().transpose(1, 2) @ update.B.double().transpose(1, 2)  # [E, n, d_out]
            u, wanted = (say * u)[part.kept], wanted[part.kept]
            ridge = penalty(u, self.covariance.get(path), *self.ridge(path))
            layers[path] = LayerFactors(D=dense_solution(u, wanted, ridge).float()[None])
        return layers


INFO = MethodInfo(
    name=NAME,
    pretty_name="InstructEdit",
    reference_url="https://arxiv.org/abs/2402.16123",
    needs_editor=True,
    supports_instruction=True,
    low_rank=True,
    load=InstructEdit.load,
)
