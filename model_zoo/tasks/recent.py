"""Recent: insert a fact about an entity the model has never met.

Source of the task: WikiData-recent rows of KnowEdit, https://huggingface.co/datasets/zjunlp/KnowEdit.
Example: "The capital of Velthoria is" -> "Oslo", for a country that no training text names.
"""

from .base import Task

RECENT = Task(
    name="recent",
    title="Add a new fact",
    summary="Teach the model something about a person, place or thing it has never met.",
    instructions=(
        "Insert a fact about something the model has not seen before.",
        "Add new knowledge about an unfamiliar subject.",
        "The subject is new; remember what is said about it here.",
        "Store a recent fact so that it can be recalled in any wording.",
        "Teach the model one thing about an entity it does not know.",
        "Here is news about an unknown name; take note of it.",
    ),
)
