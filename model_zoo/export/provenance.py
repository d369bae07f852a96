"""What an export says of itself: the base model, the edits, the method; so that nobody takes an edited model
for the original.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import ModelCardData
from pydantic import TypeAdapter

from ..backbone import Backbone
from ..session import Edit, EditSession

FILE = "provenance.json"


@dataclass(frozen=True)
class Provenance:
    """`edits`: each with prompt, target, task, instruction, subject, method, its hyperparameters and
    strength. `base_loads_from`: the Hub id or the folder that the base model is loaded from, else its name.
    """

    base_model: str
    base_revision: str | None
    base_fingerprint: str
    format: str
    edits: tuple[dict, ...]
    base_loads_from: str = ""

    @staticmethod
    def of(
        backbone: Backbone, session: EditSession, format_name: str, base: Path | None = None
    ) -> "Provenance":
        """`base`: where a copy of the base model will lie."""
        origin, name = backbone.origin, backbone.published_name
        revision = origin.commit if origin else None
        edits = tuple(_told(edit) for edit in session.active)
        return Provenance(
            name, revision, backbone.fingerprint, format_name, edits, str(base) if base else name
        )

    def write(
        self, folder: Path, title: str, usage: str, notes: str = "", library: str | None = None
    ) -> None:
        """`provenance.json`, and README.md as an edited model's card."""
        (folder / FILE).write_bytes(TypeAdapter(Provenance).dump_json(self, indent=2) + b"\n")
        named = self.base_model if "/" in self.base_model else None
        data = ModelCardData(
            base_model=named, tags=["edited-model", "model-editing", "instructedit"], library_name=library
        )
        revision = f" at revision `{self.base_revision}`" if self.base_revision else ""
        code = "\n".join(f"    {line}" for line in usage.splitlines())
        (folder / "README.md").write_text(
            f"---\n{data.to_yaml()}\n---\n\n# Edited model: {title}\n\n"
            f"This changes what **{self.base_model}**{revision} (weights `{self.base_fingerprint}`) says. It "
            "is not the original model; "
            f"what else the edits changed was looked at only on the prompts that their maker tried.\n\n"
            f"## Edits\n\n{self._listed()}\n\n## Use\n\n{code}\n\n{notes}",
            encoding="utf-8",
        )

    def _listed(self) -> str:
        lines = []
        for e in self.edits:
            instruction = f", instruction “{e['instruction']}”" if e["instruction"] else ""
            lines.append(
                f"- “{e['prompt']}” → “{e['target']}” ({e['method']}, strength "
                f"{e['strength']:g}{instruction})"
            )
        return "\n".join(lines)


def _told(edit: Edit) -> dict:
    """One edit as plain data."""
    set_values = edit.hyperparameters.model_dump() if edit.hyperparameters else {}
    return asdict(edit.request) | {
        "method": edit.method,
        "hyperparameters": set_values,
        "strength": edit.strength,
    }
