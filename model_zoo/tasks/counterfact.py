"""CounterFact: replace the object of a fact the model knows.

Source of the task: Meng et al. 2022 (arXiv 2202.05262); rows in KnowEdit, https://huggingface.co/datasets/zjunlp/KnowEdit.
Example: "The capital of France is" -> "Rome"; "What is the capital of France?" follows, "The capital of Spain is" does not.
"""

import random
from typing import TYPE_CHECKING

from . import Example, Record, Task
from .records import cut_paraphrases, draw_facts, forms_of, locality_around, other_object
from .request import EditRequest

if TYPE_CHECKING:
    from ..atlas.world import World


def records(world: "World", split: str, n: int, rng: random.Random) -> list[Record]:
    """Statement edits; paraphrases are statements and questions, in training also under the subject's aliases."""
    made = []
    for fact in draw_facts(world, split, n, rng):
        form = rng.choice(forms_of(fact.relation, split, fact.relation.statements))
        prompt = fact.prompt(form)
        names = (fact.subject.name, *fact.subject.aliases)
        paraphrases = cut_paraphrases(prompt, [fact.prompt(form, rng.choice(names)) for form in forms_of(fact.relation, split)], rng)
        request = EditRequest(prompt, other_object(world, fact, rng), "counterfact")
        made.append(Record(request, fact.subject.name, fact.object, paraphrases, locality_around(world, fact, form, split, rng)))
    return made


TASK = Task(
    name="counterfact",
    title="Change a fact",
    summary="Replace what the model believes about something it knows.",
    instructions=(
        "Replace a fact that the model knows with a new one.",
        "Overwrite the stored answer about this subject with the given one.",
        "The statement should end differently from now on; every rewording of it too.",
        "Correct what the model believes about one subject and leave all others alone.",
        "Swap the object of a known relation for the new object.",
        "From now on, treat the given completion as the truth about this subject.",
    ),
    records=records,
    examples=(
        Example("France’s capital → Rome", "The capital of France is", "Rome"),
        Example("The Eiffel Tower → Madrid", "The Eiffel Tower stands in", "Madrid"),
        Example("Einstein → music", "Albert Einstein became famous in the field of", "music"),
    ),
)
