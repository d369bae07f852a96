"""LTE: the model is taught once to answer by edits that stand before a prompt (Jiang et al. 2024, arXiv
2402.11905).

    [Updated Information] {edits}
    [Query] {prompt}
An adapter is trained to say the target where the prompt is about one of the edits, and what the base would
say where it is about none. Then an edit is only stored, and a prompt gets the nearest ones before it. The
paper finds them by sentence embeddings, here they are found by their characters and subjects (retrieval.py);
its adapter is always on, here it is where an edit was found, which keeps every other prompt bit for bit.
"""

from pydantic import Field

from ..changes import Retriever
from .hyperparameters import Hyperparameters
from .reader import Reader
from .retrieval import NearestSubject


class LTEHyperparameters(Hyperparameters):
    """What stands before a prompt."""

    edits: int = Field(
        3, ge=1, le=8, title="Edits", description="before a prompt at most, the nearest; the paper takes 3"
    )
    least: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Similarity",
        description="least likeness of an edit that stands before a prompt; measured here",
    )
    always: bool = Field(
        False,
        title="Adapter always on",
        description="also behind no edit, as in the paper; off: such prompts see the base model",
    )


class LTE(Reader):
    """Bound to a backbone with the adapter that was trained for it."""

    name = "lte"
    pretty_name = "LTE (learning to edit)"
    reference_url = "https://arxiv.org/abs/2402.11905"
    Hyperparameters = LTEHyperparameters
    most_edits = 3
    leaves_others_alone = True

    @property
    def retriever(self) -> Retriever:
        return NearestSubject(self.config.least, self.config.edits)

    @property
    def everywhere(self) -> bool:
        return self.config.always
