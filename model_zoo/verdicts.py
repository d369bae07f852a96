"""Whether an edit holds in other words, and whether what lies around it stayed: evidence -> verdicts.

No more is generated than what decides and a few words to read: the base model's answers are kept, since they
never change. Prompts without a short answer are open: any edit moves them a little, so their drift is a
degree, the KL divergence per token from the base, and no verdict.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from .backbone import Backbone
from .changes import Patch
from .evaluation.text import contains, short_answer, starts_with, typed_small, unchanged
from .events import Check, Verdicts
from .generation import divergences, generate
from .records import Probe
from .sources import Evidence

SHOWN = 6  # tokens, at least, of what is shown beside a verdict
IN_CHAT = 16  # tokens, at least, of an answer in whole sentences
SPARE = 2  # tokens behind an answer, which tell that a word ends there
KEPT = 4096  # base answers kept


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
        probes = [*(Probe(prompt, target) for prompt in evidence.generality), *evidence.locality]
        asked, split = [shown(probe.prompt) for probe in probes], len(evidence.generality)
        room = max([SHOWN, *(self._tokens(probe.answer) + SPARE for probe in probes)])
        if any(self.backbone.in_chat(text) for text in asked):
            room = max(room, IN_CHAT)
        room = self._fitting(room, asked)
        before, after = self._answers(asked, room, patch)
        held = [
            self._says(put, text, target, typed_small(prompt))
            for prompt, put, text in zip(evidence.generality, asked, after)
        ]
        stay = [
            self._stayed(probe, *texts)
            for probe, *texts in zip(
                evidence.locality, asked[split:], before[split:], after[split:], strict=True
            )
        ]
        drifts = self._drifts(
            [(text, said) for text, said in zip(asked[split:], before[split:])], stay, patch
        )
        checks = [
            Check(probe.prompt, old, new, probe.answer or old, verdict, source, drift)
            for probe, old, new, verdict, source, drift in zip(
                probes,
                before,
                after,
                [*held, *stay],
                [evidence.generality_source] * split + [evidence.locality_source] * len(stay),
                [*(None for _ in held), *drifts],
                strict=True,
            )
        ]
        return Verdicts(tuple(checks[:split]), tuple(checks[split:]))

    def _fitting(self, room: int, asked: Sequence[str]) -> int:
        """No more than the longest prompt leaves: what is kept must not depend on who asked beside it."""
        longest = max((len(self.backbone.tokenizer(text)["input_ids"]) for text in asked), default=0)
        return min(room, self.backbone.max_length - longest)

    def _tokens(self, answer: str) -> int:
        return len(self.backbone.tokenizer(answer, add_special_tokens=False)["input_ids"])

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

    def _drifts(
        self, continued: Sequence[tuple[str, str]], judged: Sequence[bool | None], patch: Patch | None
    ) -> list[float | None]:
        """How far each base continuation that is not judged has become unlikely; None for the judged."""
        asked = [pair for pair, verdict in zip(continued, judged) if verdict is None]
        found = iter(divergences(self.backbone, asked, [patch] * len(asked)) if asked else [])
        return [next(found) if verdict is None else None for verdict in judged]

    def _says(self, put: str, text: str, answer: str, small: bool) -> bool:
        """Whether a text gives an answer: at once, or anywhere in a chat's whole sentences."""
        return (contains if self.backbone.in_chat(put) else starts_with)(text, answer, small)

    def _stayed(self, probe: Probe, put: str, before: str, after: str) -> bool | None:
        """Whether the base model's short answer is still given; None where the prompt is open."""
        if not probe.answer and before:
            return None
        small = typed_small(probe.prompt)
        if probe.answer and self._says(put, before, probe.answer, small):
            return self._says(put, after, probe.answer, small)
        return unchanged(before, after, short_answer(before), small)
