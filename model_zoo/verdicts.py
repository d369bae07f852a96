"""Whether an edit holds in other words, and whether what lies around it stayed: evidence -> verdicts.

No more is generated than what decides and a few words to read: the base model's answers are kept, since they
never change. Prompts without a short answer are open: any edit moves them a little, so their drift is a
degree, the KL divergence per token from the base, and no verdict.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .backbone import Backbone
from .changes import Patch
from .evaluation.text import follows, protected, starts_with, typed_small, unchanged
from .events import Check, Verdicts
from .generation import divergences, generate
from .records import Probe
from .sources import Evidence

SHOWN = 6  # tokens, at least, of what is shown beside a verdict
IN_CHAT = 16  # tokens, at least, of an answer in whole sentences
SPARE = 2  # tokens behind an answer, which tell that a word ends there
KEPT = 4096  # base answers kept


class Said(NamedTuple):
    """What was put to both models, and what the base and the edited one said."""

    put: str
    before: str
    after: str


class Judge:
    """Judges edits of one base model, whose own answers it keeps."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone
        self._base: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def verdicts(
        self, evidence: Evidence, target: str, shown: Callable[[str], str], patch: Patch | None
    ) -> Verdicts:
        """Verdicts on an edit's evidence; `shown` turns a prompt into what is put to both models."""
        follow = [Probe(prompt, target) for prompt in evidence.generality]
        # one whose own answer is the target cannot tell whether it stayed
        stay = [p for p in evidence.locality if not (p.answer and starts_with(p.answer, target))]
        asked = [shown(probe.prompt) for probe in (*follow, *stay)]
        before, after = self._answers(asked, self._room([*follow, *stay], asked), patch)
        said = [Said(*texts) for texts in zip(asked, before, after, strict=True)]
        followed, around = list(zip(follow, said)), list(zip(stay, said[len(follow) :]))
        drifts = self._drifts([text for probe, text in around if _is_open(probe, text)], patch)
        return Verdicts(
            tuple(self._followed(probe, text, evidence.generality_source) for probe, text in followed),
            tuple(
                self._stayed(probe, text, evidence.locality_source, drifts.get(text))
                for probe, text in around
            ),
        )

    def _room(self, probes: Sequence[Probe], asked: Sequence[str]) -> int:
        """How many tokens are generated: what the longest answer takes, and no more than the longest prompt
        leaves, so that what is kept of the base does not depend on who asked beside it.
        """
        tokens, longest = self.backbone.tokenizer, 0
        room = IN_CHAT if any(map(self.backbone.in_chat, asked)) else SHOWN
        for probe, text in zip(probes, asked):
            answer = tokens(probe.answer, add_special_tokens=False)["input_ids"]
            room, longest = max(room, len(answer) + SPARE), max(longest, len(self.backbone.ids(text)))
        return min(room, self.backbone.max_length - longest)

    def _answers(self, prompts: Sequence[str], room: int, patch: Patch | None) -> tuple[list[str], list[str]]:
        """The base model's continuations and the patched one's, in one batch; what the base was asked before
        it is not asked again.
        """
        keys = [(prompt, room) for prompt in prompts]
        with self._lock:
            kept = {key: self._base[key] for key in keys if key in self._base}
        new = [key for key in dict.fromkeys(keys) if key not in kept]
        rows, seen = [prompt for prompt, _ in new], [None] * len(new) + [patch] * len(prompts)
        texts = generate(self.backbone, [*rows, *prompts], seen, room) if prompts else []
        kept |= dict(zip(new, texts))
        with self._lock:
            for key in kept:  # those asked now are the last to be dropped
                self._base[key] = kept[key]
                self._base.move_to_end(key)
            while len(self._base) > KEPT:
                self._base.popitem(last=False)
        return [kept[key] for key in keys], texts[len(new) :]

    def _drifts(self, texts: Sequence[Said], patch: Patch | None) -> dict[Said, float]:
        """How far the edited model has moved from each base continuation, in nats a token."""
        pairs = [(text.put, text.before) for text in texts]
        found = divergences(self.backbone, pairs, [patch] * len(pairs)) if pairs else []
        return dict(zip(texts, found, strict=True))

    def _followed(self, probe: Probe, text: Said, source: str) -> Check:
        held = follows(text.after, probe.answer, typed_small(probe.prompt), self.backbone.in_chat(text.put))
        return Check(probe.prompt, text.before, text.after, probe.answer, held, source)

    def _stayed(self, probe: Probe, text: Said, source: str, drift: float | None) -> Check:
        """Whether the base model's short answer is still given: the known one, if it gives that."""
        before, after, small = text.before, text.after, typed_small(probe.prompt)
        held, in_chat = None, self.backbone.in_chat(text.put)
        if drift is None:
            answer = protected(before, probe.answer, small, in_chat)
            held = unchanged(before, after, answer, small, in_chat)
        return Check(probe.prompt, before, after, probe.answer or before, held, source, drift)


def _is_open(probe: Probe, text: Said) -> bool:
    return not probe.answer and bool(text.before)
