"""CounterFact: replace the object of a fact the model knows.

Source of the task: Meng et al. 2022 (arXiv 2202.05262); rows in KnowEdit,
https://huggingface.co/datasets/zjunlp/KnowEdit. Example: "The capital of France is" -> "Rome"; "What is the
capital of France?" follows, "The capital of Spain is" does not.
"""

from .base import Task

COUNTERFACT = Task(
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
)
