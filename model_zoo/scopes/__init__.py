"""How far an edit reaches: the same example, told by its instruction alone to change one sentence, a subject,
a category, the tone, or nothing.

A `ScopeCase` is one edit with probes around it; a `Scope` says what a perfect editor would answer to each.
One scope is one line in SCOPES and one file of instructions in wordings/.
"""

import itertools
import random
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from ..registry import find, registered
from ..request import EditRequest

__all__ = ["KINDS", "SCOPES", "TASK_WORD", "Scope", "ScopeCase", "ScopeProbe", "get_scope"]

Kind = Literal["itself", "rewording", "alias", "implied", "category", "relation", "world"]  # from near to far
KINDS: tuple[Kind, ...] = get_args(Kind)
# the Task line of every scoped request: it must not tell the scopes apart, only the Description may
TASK_WORD = "scope"
WORDINGS = Path(__file__).parent / "wordings"


@dataclass(frozen=True)
class ScopeProbe:
    """A prompt near an edit, what the base model answers, and how it is related to the edit.

    `itself`: the edit's prompt. `rewording`, `alias`, `implied`: the same fact or opinion, in other words,
    under another name of the subject, or asked of what follows from it. `category`: others of the kind.
    `relation`: other facts of the subject. `world`: anything else. `toned`: the answer in the mood of the
    edit's target, for opinions.
    """

    prompt: str
    answer: str
    kind: Kind
    toned: str = ""


@dataclass(frozen=True)
class ScopeCase:
    """One edit, without an instruction, and the probes around it; the first is the edit's own prompt."""

    prompt: str
    target: str
    subject: str
    probes: tuple[ScopeProbe, ...]

    def request(self, instruction: str | None) -> EditRequest:
        return EditRequest(self.prompt, self.target, TASK_WORD, instruction)


@dataclass(frozen=True)
class Scope:
    """Which kinds of probes an edit reaches, and whether they get its target or only its tone."""

    name: str
    title: str
    summary: str
    reaches: frozenset[Kind]
    gives: Literal["target", "tone"] = "target"

    def expected(self, case: ScopeCase, probe: ScopeProbe) -> str:
        """What the edited model should answer: the base model's own answer where the edit does not reach."""
        if probe.kind not in self.reaches:
            return probe.answer
        return case.target if self.gives == "target" else probe.toned or probe.answer

    @cached_property
    def _wordings(self) -> dict[str, list[str]]:
        """[a|b] stands for either. Training's are by several authors. The unseen ones, by the first of them,
        are never shown to an editor in training, nor are the independent ones, whose author had seen none of
        all these.
        """
        return tomllib.loads((WORDINGS / f"{self.name}.toml").read_text(encoding="utf-8"))

    @cached_property
    def readings(self) -> tuple[tuple[str, ...], ...]:
        """Every instruction that training may show, wording by wording."""
        return tuple(tuple(expanded(wording)) for wording in self._wordings["training"])

    @property
    def first_readings(self) -> tuple[str, ...]:
        """One instruction of each training wording; the first is the scope's usual one."""
        return tuple(readings[0] for readings in self.readings)

    def drawn(self, rng: random.Random) -> str:
        """An instruction that training may show, every wording as likely as the others however many readings
        it has.
        """
        return rng.choice(rng.choice(self.readings))

    @property
    def unseen(self) -> tuple[str, ...]:
        """Instructions that no editor was trained on."""
        return tuple(self._wordings["unseen"])

    @property
    def independent(self) -> tuple[str, ...]:
        """Unseen instructions of another author, who had not read the training's."""
        return tuple(self._wordings["independent"])


def expanded(wording: str) -> list[str]:
    """Every reading of a wording with [a|b] alternatives."""
    parts = re.split(r"\[([^\]]*)\]", wording)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(reading) for reading in itertools.product(*choices)]


_SAME: tuple[Kind, ...] = ("itself", "rewording", "alias", "implied")
SCOPES: MappingProxyType[str, Scope] = registered("scope", (
    Scope(
        name="statement", title="This sentence only",
        summary="Asked in other words, the model answers as before.",
        reaches=frozenset({"itself"}),
    ),
    Scope(
        name="subject", title="The subject",
        summary="Every wording, other names, and what follows from it.",
        reaches=frozenset(_SAME),
    ),
    Scope(
        name="category", title="The whole category",
        summary="Everything of the same kind gets the new answer.",
        reaches=frozenset({*_SAME, "category"}),
    ),
    Scope(
        name="tone", title="Only the tone",
        summary="Opinions take on the mood of the example; facts stay.",
        reaches=frozenset({*_SAME, "category"}), gives="tone",
    ),
    Scope(
        name="locked", title="Nothing: locked",
        summary="The model stays as it is, whatever the example says.",
        reaches=frozenset(),
    ),
))  # fmt: skip


def get_scope(name: str) -> Scope:
    """The registered scope; ValueError names the known ones."""
    return find("scope", SCOPES, name)
