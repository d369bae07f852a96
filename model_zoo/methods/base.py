"""The contract of an editing method: what it declares, and what callers may ask of it once it is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from ..backbone import Backbone
from ..changes import Change, Delta, concatenate
from ..progress import Progress, no_progress
from ..request import EditRequest
from ..sources import Source, default_source
from .hyperparameters import Hyperparameters

AT_ONCE = 16  # edits proposed in one batch


@dataclass(frozen=True)
class Setup:
    """What a method is loaded with. `editor`: the folder of a trained editor, where the method needs one;
    `source`: where a method that needs statistics takes the facts from that it should leave alone; `text`:
    passages over which it takes those of running text, in place of what the base model writes itself.
    """

    backbone: Backbone
    editor: Path | None = None
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    source: Source = field(default_factory=default_source)
    progress: Progress = no_progress
    text: tuple[str, ...] = ()


class EditMethod(ABC):
    """An editing method, bound to one backbone once it is loaded. What it can do is declared, never inferred
    from its name.
    """

    name: ClassVar[str]
    pretty_name: ClassVar[str]
    reference_url: ClassVar[str]
    kind: ClassVar[type[Change]] = Delta  # what its edits are
    needs_editor: ClassVar[bool] = False  # one that was trained for this base model
    trained_by: ClassVar[str | None] = (
        None  # the trainer of its editors, in training/; None: they are imported
    )
    editor_in_words: ClassVar[str] = ""  # what one is, for its model card
    needs_subject: ClassVar[bool] = False  # every request must say what it is about
    needs_statistics: ClassVar[bool] = False  # of the base model's keys, which take a while the first time
    reads_instruction: ClassVar[bool] = False
    has_directions: ClassVar[bool] = False  # its edits are low-rank factors, which lie on the Directions map
    Hyperparameters: ClassVar[type[Hyperparameters]] = Hyperparameters

    backbone: Backbone
    config: Any  # of the class that the method declares as Hyperparameters, or an editor's

    def __init__(self, setup: Setup):
        self.backbone, self.config = setup.backbone, setup.hyperparameters

    @classmethod
    def load(cls, setup: Setup) -> Self:
        """Bind the method to a backbone. ValueError names what is missing or does not fit."""
        return cls(setup)

    @property
    def fingerprint(self) -> str:
        """A short digest of everything that decides its edits beside the base model."""
        return repr(self.config)

    @property
    def training_in_words(self) -> str:
        """How its editor was trained; empty where it has none, or one that does not say."""
        return ""

    @abstractmethod
    def propose(self, requests: Sequence[EditRequest]) -> list[Any]:
        """One Change of `kind` per request, each as if it were the only edit; the base model stays."""

    @abstractmethod
    def combine(self, changes: Sequence[Any]) -> Any:
        """One Change under which all the given edits (at least one) live together."""

    # ---- many edits ----------------------------------------------------------------------------------------

    def together(self, requests: Sequence[EditRequest]) -> Change:
        """All edits made at once: every one proposed on the base model, then combined."""
        parts = [requests[i : i + AT_ONCE] for i in range(0, len(requests), AT_ONCE)]
        return self.combine([change for part in parts for change in self.propose(part)])

    def extend(self, before: Delta | None, request: EditRequest) -> Change:
        """One more edit, made on the model as `before` left it; the change of both is their sum.

        ValueError where a method can only edit the base model.
        """
        if before is None:
            return self.propose([request])[0]
        raise ValueError(
            f"{self.pretty_name} makes its edits on the base model only; make them together instead."
        )

    def one_after_another(self, requests: Sequence[EditRequest]) -> Change:
        """All edits, each made on the model as those before it left it. ValueError where a method can only
        edit the base model.
        """
        first, *others = requests
        change = self.extend(None, first)
        for request in others:
            own = self.extend(cast(Delta, change), request)
            change = concatenate([cast(Delta, change), cast(Delta, own)])
        return change

    # ---- directions ----------------------------------------------------------------------------------------

    def directions(self, requests: Sequence[EditRequest], prefix_rows: bool = True) -> list[Delta]:
        """The edits as low-rank factors for the Directions map; without `prefix_rows`, less what stands on an
        instruction's own tokens. ValueError for a method whose edits have none.
        """
        if not self.has_directions:
            raise ValueError(
                f"The edits of {self.pretty_name} have no low-rank factors, and so no directions here; "
                "look at the raw gradient."
            )
        return self.propose(requests)


def check_requests(method: type[EditMethod], requests: Sequence[EditRequest]) -> None:
    """ValueError when a request lacks what the method declares to need."""
    for request in requests:
        if method.needs_subject and not request.subject:
            raise ValueError(
                f"{method.pretty_name} needs to know which words of '{request.prompt}' name its subject, and "
                "none was found; "
                "give it (--subject, or the field Subject under More settings)."
            )


MethodOf = Callable[[str, Hyperparameters | None], EditMethod]  # a loaded method by name and hyperparameters


def summed(deltas: Sequence[Delta]) -> Delta:
    """How edits live together that know nothing better: their weight changes add up."""
    return deltas[0] if len(deltas) == 1 else concatenate(deltas)
