"""EditSession: one person's edits. An immutable value; every action returns a new one and can be undone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .changes import Change, Patch
from .methods import Hyperparameters, MethodOf
from .request import EditRequest


@dataclass(frozen=True)
class Edit:
    """One edit as a value: what was asked for, by which method (and its hyperparameters, where they are not
    the defaults), the change that came of it, its strength, and whether it is switched on. `on_top`: it was
    made on the model as the edits before it left it, or comes from a file, and so adds to the others. `more`:
    so many further edits are in the change, which came as one.
    """

    request: EditRequest
    method: str
    change: Change
    strength: float = 1.0
    on: bool = True
    hyperparameters: Hyperparameters | None = None
    on_top: bool = False
    more: int = 0

    def __post_init__(self) -> None:
        self.change.check_strength(self.strength)

    @property
    def label(self) -> str:
        more = f" and {self.more} more" if self.more else ""
        return f"{self.request.prompt} → {self.request.target}{more}"

    @property
    def made(self) -> Change:
        """The change at its strength."""
        return self.change.scaled(self.strength)


Edits = tuple[Edit, ...]
REMEMBERED = 100  # actions that can be undone


def combine(edits: Sequence[Edit], methods: MethodOf) -> Patch | None:
    """The patch of a stack of edits: each method combines its own, the results stand side by side, and what
    was made on top of them is added. None when there are none.

    An edit that is off, or of strength 0, is left out: it would still ask a joint solve for "no change" on
    the words it shares with others.
    """
    groups: dict[tuple[str, Hyperparameters | None], list[Change]] = {}
    on_top: list[Change] = []
    for edit in edits:
        if edit.on and edit.strength:
            group = groups.setdefault((edit.method, edit.hyperparameters), []) if not edit.on_top else on_top
            group.append(edit.made)
    combined = [methods(name, hyper).combine(changes) for (name, hyper), changes in groups.items()]
    return Patch.of([*combined, *on_top])


@dataclass(frozen=True)
class EditSession:
    """The stack of edits with its history. Holds CPU data only and pickles, so it crosses process borders."""

    edits: Edits = ()
    past: tuple[Edits, ...] = ()
    future: tuple[Edits, ...] = ()

    def __hash__(self) -> int:
        return hash(self.edits)  # not the whole history, which may be long

    @property
    def active(self) -> Edits:
        """The edits that are on."""
        return tuple(edit for edit in self.edits if edit.on)

    def _then(self, edits: Edits) -> "EditSession":
        return EditSession(edits, (*self.past, self.edits)[-REMEMBERED:], ())

    @property
    def numbers(self) -> int:
        """How many numbers its edits and their history keep."""
        stacks = (self.edits, *self.past, *self.future)
        changes = {id(edit.change): edit.change for own in stacks for edit in own}
        return sum(change.numbers for change in changes.values())

    def within(self, most: int) -> "EditSession":
        """The session with as much of its history as fits into so many numbers. ValueError where its edits
        alone do not.
        """
        session = self
        while session.numbers > most and (session.past or session.future):
            session = EditSession(session.edits, session.past[1:], session.future if session.past else ())
        if session.numbers > most:
            raise ValueError(
                f"These {len(self.edits)} edits keep {session.numbers:,} numbers, and {most:,} is the most "
                "here; take some out, or run the program yourself."
            )
        return session

    def add(self, *edits: Edit) -> "EditSession":
        """More edits, as one action; each replaces an earlier one of its prompt, since both cannot hold."""
        standing: dict[str | int, Edit] = {}
        for edit in (*self.edits, *edits):
            prompt = id(edit) if edit.more else edit.request.prompt.casefold()
            standing.pop(prompt, None)
            standing[prompt] = edit
        return self._then(tuple(standing.values()))

    def without(self, prompts: Iterable[str]) -> "EditSession":
        """The session without its edits of these prompts."""
        gone = {prompt.casefold() for prompt in prompts}
        kept = tuple(edit for edit in self.edits if edit.request.prompt.casefold() not in gone)
        return self if kept == self.edits else self._then(kept)

    def set_on(self, on: set[int]) -> "EditSession":
        """Switch on exactly the edits with these positions."""
        edits = tuple(replace(edit, on=i in on) for i, edit in enumerate(self.edits))
        return self if [e.on for e in edits] == [e.on for e in self.edits] else self._then(edits)

    def toggle(self, index: int) -> "EditSession":
        return self.set_on({i for i, edit in enumerate(self.edits) if edit.on != (i == index)})

    def set_strength(self, index: int, strength: float) -> "EditSession":
        """ValueError where the edit cannot be made at that strength."""
        edits = (
            replace(edit, strength=strength) if i == index else edit for i, edit in enumerate(self.edits)
        )
        return self._then(tuple(edits))

    def replaced(self, edits: Edits) -> "EditSession":
        """Other edits in place of these, as one action."""
        return self._then(edits)

    def clear(self) -> "EditSession":
        return self._then(()) if self.edits else self

    def undo(self) -> "EditSession":
        """One action back; the session itself when there is none."""
        if not self.past:
            return self
        return EditSession(self.past[-1], self.past[:-1], (self.edits, *self.future))

    def redo(self) -> "EditSession":
        if not self.future:
            return self
        return EditSession(self.future[0], (*self.past, self.edits)[-REMEMBERED:], self.future[1:])

    def patch(self, methods: MethodOf) -> Patch | None:
        """The patch of all edits that are on; None when none is."""
        return combine(self.edits, methods)
