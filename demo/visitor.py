"""What belongs to one visitor: the chosen model and the edits. Plain values that can be pickled."""

from collections.abc import Mapping
from typing import NamedTuple

from model_zoo.catalog import DEFAULT_MODEL
from model_zoo.records import Record
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession

MOST_NUMBERS = 2**27  # of one visitor's edits on one model, with their history: half a gigabyte


class ModelChoice(NamedTuple):
    """A base model and an editor for it. The editor "" is the model's own, or none if it has none."""

    model: str = DEFAULT_MODEL
    editor: str = ""

    def __str__(self) -> str:
        return f"{self.model} with {self.editor}" if self.editor else self.model


class VisitorState(NamedTuple):
    """One visitor's state. It lives in a gr.State, which cannot start from a dataclass that holds tensors.

    `sessions` holds the edits made with each choice. `request` is the edit on show. `record` is the reference
    edit that the edit on show came from, if it came from one; `language` that in which its verdicts are asked
    for, of those that it has. `met`: whether the page was loaded in
    this session; where it was not, the edits that the page shows are gone.
    """

    choice: ModelChoice = ModelChoice()
    sessions: Mapping[ModelChoice, EditSession] = {}
    request: EditRequest | None = None
    record: Record | None = None
    language: str = ""
    met: bool = False

    @property
    def numbers(self) -> int:
        """How many numbers all its edits keep."""
        return sum(session.numbers for session in self.sessions.values())

    @property
    def session(self) -> EditSession:
        """The edits made with the present choice."""
        return self.sessions.get(self.choice, EditSession())

    @property
    def shown(self) -> Edit | None:
        """The edit on show, if it is switched on."""
        return next((edit for edit in self.session.active if edit.request == self.request), None)

    def with_session(self, session: EditSession) -> "VisitorState":
        """ValueError where its edits keep too much."""
        return self._replace(sessions={**self.sessions, self.choice: session.within(MOST_NUMBERS)})

    def with_choice(self, choice: ModelChoice) -> "VisitorState":
        """Another choice. The edits made with it come back, and the last one is on show."""
        if choice == self.choice:
            return self
        return self._replace(choice=choice, record=None).showing_an_own_edit()

    def showing_an_own_edit(self) -> "VisitorState":
        """If the edit on show is not in the session, show the session's last edit, if there is one."""
        requests = [edit.request for edit in self.session.edits]
        return self if self.request in requests or not requests else self._replace(request=requests[-1])
