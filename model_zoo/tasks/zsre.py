"""zsRE: question answering edits, question -> new answer. Held out: no editor is trained on it.

Source of the task: Levy et al. 2017 (arXiv 1706.04115) as used by MEND; rows in KnowEdit,
https://huggingface.co/datasets/zjunlp/KnowEdit. Example: "Who created Hamlet?" -> "Jane Austen".
"""

import random
from typing import TYPE_CHECKING

from . import Example, Record, Task
from .records import cut_paraphrases, draw_facts, forms_of, locality_around, other_object
from .request import EditRequest

if TYPE_CHECKING:
    from ..atlas.world import World


def records(world: "World", split: str, n: int, rng: random.Random) -> list[Record]:
    """Question edits with question paraphrases."""
    made = []
    for fact in draw_facts(world, split, n, rng):
        questions = forms_of(fact.relation, split, fact.relation.questions)
        form = rng.choice(questions)
        prompt = fact.prompt(form)
        paraphrases = cut_paraphrases(prompt, [fact.prompt(form) for form in questions], rng)
        request = EditRequest(prompt, other_object(world, fact, rng), "zsre")
        made.append(Record(request, fact.subject.name, fact.object, paraphrases, locality_around(world, fact, form, split, rng)))
    return made


TASK = Task(
    name="zsre",
    title="Answer a question differently",
    summary="Give a question a new answer. No editor was trained on this task.",
    instructions=(
        "Answer the question with the given answer.",
        "Change the answer to this question and to its rewordings.",
        "When asked this, reply with the new answer.",
        "A question answering edit: the new answer replaces the old one.",
        "Update how the model answers this one question.",
    ),
    records=records,
    trained=False,
    examples=(
        Example("Japan’s capital? → Cairo", "What is the capital of Japan?", "Cairo"),
        Example("Gold’s symbol? → Fe", "What is the chemical symbol for gold?", "Fe"),
        Example("Hamlet’s author? → Tolstoy", "Who created Hamlet?", "Leo Tolstoy"),
    ),
)
