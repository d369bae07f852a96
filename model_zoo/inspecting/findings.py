"""What an inspection finds: plain data, one kind of finding for each question about an edit."""

from dataclasses import dataclass

from ..sources.surroundings import KINDS

MOVED_MOST = 10  # prompts whose answers moved most, shown first


@dataclass(frozen=True)
class Passage:
    """Running text: its perplexity before and after, and how far the edited model's predictions are from the
    base's, in nats per token.
    """

    text: str
    before: float
    after: float
    divergence: float


@dataclass(frozen=True)
class NeutralText:
    """Running text that no edit is about. `drift`: by how much the states behind each block move, as a share
    of their norm, from the first block to the last.
    """

    passages: tuple[Passage, ...]
    before: float
    after: float
    divergence: float
    drift: tuple[float, ...]

    @property
    def rise(self) -> float:
        """How far the perplexity rises, as a share of the base's."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class KnownFact:
    """A fact that the base model says. `before`, `after`: its likelihood per token; `stays`: the edited model
    still says it; `said`: what that says, asked only where the fact moved.
    """

    prompt: str
    answer: str
    kind: str  # a key of surroundings.KINDS
    before: float
    after: float
    stays: bool
    said: str = ""

    @property
    def lost(self) -> float:
        """How much less likely it became, as a share: 1 all, 0 nothing, below 0 where it became likelier."""
        return 1 - self.after / self.before


@dataclass(frozen=True)
class Knowledge:
    """Facts around the edit that the base model says, asked of the edited one; `asked` of `listed` facts so
    far, and `unknown` of those are not said by the base model either, so they tell nothing.
    """

    facts: tuple[KnownFact, ...]
    asked: int
    listed: int
    unknown: int

    @property
    def done(self) -> bool:
        return self.asked == self.listed

    @property
    def moved_most(self) -> tuple[KnownFact, ...]:
        """Those that the edited model does not say any more, then those that lost most."""
        ranked = sorted(self.facts, key=lambda fact: (fact.stays, -fact.lost))
        return tuple(ranked[:MOVED_MOST])

    def counts(self) -> dict[str, tuple[int, int]]:
        """(how many stay, how many there are) by kind, the nearest first; only kinds that there are."""
        by_kind = {kind: [fact for fact in self.facts if fact.kind == kind] for kind in KINDS}
        return {kind: (sum(f.stays for f in own), len(own)) for kind, own in by_kind.items() if own}


@dataclass(frozen=True)
class Consequence:
    """What should follow from the edit, one step behind it."""

    prompt: str
    expected: str
    before: str
    after: str
    follows: bool


@dataclass(frozen=True)
class Consequences:
    """Empty where nothing is known of the target."""

    steps: tuple[Consequence, ...]


@dataclass(frozen=True)
class Returned:
    """One prompt asked of the base model, and after the edit and an edit back to the old answer."""

    prompt: str
    before: str
    after: str
    same: bool


@dataclass(frozen=True)
class EditedBack:
    """The edit, then another one of its prompt back to what the base model said (`answer`; empty where it
    says nothing that could be edited back to, or the method cannot make it: `problem`).
    """

    answer: str
    prompts: tuple[Returned, ...]
    problem: str = ""

    @property
    def same(self) -> int:
        return sum(prompt.same for prompt in self.prompts)


@dataclass(frozen=True)
class Strength:
    """The edit alone at one strength: likelihood per token of the target and of the old answer, and how many
    of the facts beside it are still said.
    """

    strength: float
    target: float
    old: float
    stay: int


@dataclass(frozen=True)
class Strengths:
    """From 0 to 2; empty where the change is on or off (`problem`). `beside`: facts that are asked."""

    points: tuple[Strength, ...]
    beside: int
    problem: str = ""

    @property
    def gentlest(self) -> Strength | None:
        """Of the strengths at which the target is likelier than all else, the one that most facts beside it
        stay at, the lowest of those; None where there is none.
        """
        leading = [point for point in self.points if point.target > 0.5]
        return max(leading, key=lambda point: (point.stay, -point.strength), default=None)

    @property
    def crossover(self) -> float | None:
        """The strength at which the target becomes likelier than the old answer, interpolated; None where it
        does not.
        """
        for low, high in zip(self.points, self.points[1:]):
            gap, then = low.target - low.old, high.target - high.old
            if gap <= 0 < then:
                return low.strength + (high.strength - low.strength) * -gap / (then - gap)
        return None


@dataclass(frozen=True)
class Block:
    """What the state behind one block says at the prompt's end, read through the model's own head (logit
    lens): the likelihood of the first token of the target and of the old answer.
    """

    block: int
    target_before: float
    target_after: float
    old_before: float
    old_after: float


@dataclass(frozen=True)
class Layers:
    """The logit lens, block by block. `old`: the old answer's first token, `target`: the target's; `old` is
    empty where there is none, or both are the same.
    """

    target: str
    old: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Traced:
    """Causal tracing of the base model's answer: `share[b][t]` of the likelihood that noise on the subject
    took comes back when the state behind block `blocks[b]` at token t is restored (Meng et al. 2022).

    Empty where no subject was found, or noise takes nothing (`problem`).
    """

    tokens: tuple[str, ...]
    subject: tuple[int, int]  # first token of the subject, and the one behind its last
    blocks: tuple[int, ...]
    share: tuple[tuple[float, ...], ...]
    clean: float
    noised: float
    answer: str
    problem: str = ""


@dataclass(frozen=True)
class NearEdit:
    """A reference edit whose direction agrees with the edit's by `cosine`. What became of it: made alone by
    the edit's method, its target is `likelihood` likely per token and leads (`holds`); and with the edit on
    the model says `after` to its prompt, where the base says `before`.
    """

    task: str
    prompt: str
    target: str
    cosine: float
    likelihood: float
    holds: bool
    before: str
    after: str
    same: bool


@dataclass(frozen=True)
class NearestEdits:
    """The nearest of `references` reference edits, nearest first; none where the method cannot make them
    (`problem`).
    """

    edits: tuple[NearEdit, ...]
    references: int
    problem: str = ""


Finding = NeutralText | Knowledge | Consequences | EditedBack | Strengths | Layers | Traced | NearestEdits
