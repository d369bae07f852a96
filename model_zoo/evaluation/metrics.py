"""What every figure means, in one place: `evaluate --explain` and the page say it in these words."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .text import RULE

RISE = "perplexity_rise"


@dataclass(frozen=True)
class Score:
    """One way to judge a prompt: the field of a Row that holds it, a column's title, what it says."""

    field: str
    title: str
    definition: str


METRICS: Mapping[str, str] = MappingProxyType(
    {
        "reliability": "The edit's own prompt: does the edited model say the target?",
        "generality": "Other wordings of the edit's prompt, as the record has them: do they say the target?",
        "locality": "Prompts that the edit should leave alone, always against the unedited model: does the "
        "edited one still say what that said: the known answer if it gave it, else its first five words at "
        "most?",
        "locality_known": "Those of them whose known answer the unedited model gives.",
        "portability": "Prompts whose answer follows from the edit: do they say it?",
        "fluency": "Of the text behind the edit's own prompt: (2 H2 + 4 H3) / 6 in bits, H_n the entropy of "
        "its n-grams of words (Meng et al. 2022). Repetition lowers it.",
        "degenerate": "Share of those texts that repeat themselves: a word, or a part of one, three times in "
        "a row; or, of six words and more, one that makes up half of them, or fewer than half of the pairs "
        "of neighbours different.",
        RISE: "How far the perplexity of a text that has nothing to do with the edit rises under it, as a "
        "share of the unedited model's.",
    }
)
SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "generated": Score(
            "generated",
            "generated",
            "Greedy text, of 32 tokens and of more where the answer is longer, cut at a line break: it "
            "begins with the answer or, inside a chat template, says it anywhere (WILD, arXiv 2502.11177). "
            f"{RULE} A text that repeats itself is no hit.",
        ),
        "teacher_forced": Score(
            "forced",
            "teacher-forced",
            "Share of the answer's tokens that are the model's first choice when the tokens before them are "
            "given (the literature's accuracy, higher than what the model says by itself); of locality, of "
            "what the unedited model's first choices were.",
        ),
        "probability": Score(
            "preferred",
            "ES, PS, NS",
            "Share of prompts where the right answer is likelier than the other, by the mean "
            "log-probability of its tokens (ROME, arXiv 2202.05262): the target against the old answer "
            "(efficacy ES, of other wordings PS), a neighbour's own answer against the target (NS). Only "
            "where both are known.",
        ),
        "sentiment": Score(
            "sentiment",
            "sentiment",
            "Share of texts that voice the wanted sentiment in whatever words: that of the known reply whose "
            "words it shares most or, where any words may voice it, by a small classifier.",
        ),
    }
)


def explained(name: str) -> str:
    """The definition of a metric or score. ValueError with the list where there is none of that name."""
    words = {**METRICS, **{key: score.definition for key, score in SCORES.items()}}
    if name not in words:
        raise ValueError(f"There is no figure '{name}'; the figures are: {', '.join(words)}.")
    return words[name]
