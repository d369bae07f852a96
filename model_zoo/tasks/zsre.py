"""zsRE: question answering edits, question -> new answer. Held out: no editor is trained on it.

Source of the task: Levy et al. 2017 (arXiv 1706.04115) as used by MEND; rows in KnowEdit,
https://huggingface.co/datasets/zjunlp/KnowEdit. Example: "Who created Hamlet?" -> "Jane Austen".
"""

from .base import Task

ZSRE = Task(
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
    trained=False,
)
