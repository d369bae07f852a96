"""The life of one edit as typed events: plain data that can cross a process border. Command line, page and
API read the same.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import cast

from .changes import Effect
from .evaluation.text import degenerate
from .scopes import Kind
from .session import Edit, EditSession

# told where an edit is to what the base model says anyway, as when one takes an earlier edit back
KNOWN = "The base model says this by itself: without the edit it still would, and nothing else would move."


@dataclass(frozen=True)
class Check:
    """One prompt's verdict. `held`: it follows the edit (generality) or stayed as it was (locality); None
    where the text is open, whose `drift` is a degree: nats per token away from the base.
    """

    prompt: str
    before: str
    after: str
    expected: str
    held: bool | None
    source: str
    drift: float | None = None


@dataclass(frozen=True)
class Proposed:
    """The edit was made and stands in the session."""

    edit: Edit
    session: EditSession
    seconds: float


@dataclass(frozen=True)
class TextSoFar:
    """What both models have said to the edit's own prompt so far."""

    before: str
    after: str

    @property
    def degenerate(self) -> bool:
        """Whether the edited model repeats itself, where the base model does not."""
        return degenerate(self.after) and not degenerate(self.before)


@dataclass(frozen=True)
class Probabilities:
    """How likely the whole target is behind the prompt. `known`: the base model says it by itself."""

    before: float
    after: float
    known: bool = False


@dataclass(frozen=True)
class Verdicts:
    """Whether the edit holds in other words, and whether what lies around it stayed."""

    generality: tuple[Check, ...]
    locality: tuple[Check, ...]

    @property
    def stay(self) -> tuple[Check, ...]:
        """The neighbours that are judged."""
        return tuple(check for check in self.locality if check.held is not None)

    @property
    def open_texts(self) -> tuple[Check, ...]:
        """The neighbours without a short answer, which have a drift."""
        return tuple(check for check in self.locality if check.drift is not None)

    @property
    def drift(self) -> float:
        """The mean drift of open texts; 0 without any."""
        drifts = [check.drift for check in self.open_texts if check.drift is not None]
        return sum(drifts) / len(drifts) if drifts else 0.0


Event = Proposed | TextSoFar | Probabilities | Verdicts
Whole = tuple[Proposed, TextSoFar, Probabilities, Verdicts]


def whole(life: Iterator[Event]) -> Whole:
    """A life whose text comes whole, to its end: one event of each kind, in this order."""
    return cast(Whole, tuple(life))


@dataclass(frozen=True)
class Reached:
    """One probe near an edit that was made under several instructions: what was said before, and after under
    each.

    `moved`: it says something else than before. `follows`: it says the edit's target.
    """

    prompt: str
    kind: Kind
    before: str
    after: tuple[str, ...]
    moved: tuple[bool, ...]
    follows: tuple[bool, ...]


@dataclass(frozen=True)
class EditReport:
    """Everything the command line prints as JSON. Texts are continuations only. `held`: the edit's own prompt
    says the target; `known`: the base model says it by itself. `contradicts`: other edits that are on and
    give the same fact another answer.
    """

    model: str
    method: str
    task: str
    instruction: str | None
    prompt: str
    target: str
    subject: str | None
    before: str
    after: str
    held: bool
    degenerate: bool
    target_probability: dict[str, float]
    generality: tuple[Check, ...]
    locality: tuple[Check, ...]
    changed: tuple[Effect, ...]
    edit_seconds: float
    seconds: float
    ask: tuple[dict[str, str], ...] = field(default=())
    contradicts: tuple[str, ...] = ()
    known: bool = False

    def to_dict(self) -> dict:
        return asdict(self)
