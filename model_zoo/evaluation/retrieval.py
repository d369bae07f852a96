"""Which stored edit a prompt finds, among all of those that a method keeps as text, as LTE (arXiv 2402.11905)
does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..backbone import Backbone
from ..changes import Rewrite
from ..methods import EditMethod
from .scoring import Case
from .summary import mean_of

LOOKED = 50  # edits between two looks at the table so far


@dataclass(frozen=True)
class Retrieved:
    """How many of the `asked` prompts, one of each edit, find their own edit first (`first`), find it among
    those that stand before the prompt (`among`), or find none (`none`); a 95% bootstrap interval over edits.
    """

    asked: str
    found: str
    n: int
    mean: float
    low: float
    high: float


def retrieving(
    backbone: Backbone, method: EditMethod, cases: Sequence[Case]
) -> Iterator[tuple[int, list[Retrieved]]]:
    """(edits asked, the table so far): all cases' edits are stored, then each one's own prompt, another
    wording and a neighbour are looked up. ValueError where a method keeps no edits as text.
    """
    if method.kind is not Rewrite:
        raise ValueError(f"{method.pretty_name} keeps no edits as text, so there is nothing to be found.")
    stored = method.together([case.request for case in cases])
    assert isinstance(stored, Rewrite)
    hits: dict[tuple[str, str], list[float]] = {}
    for done, case in enumerate(cases, 1):
        own = case.request.prompt
        for asked, prompt in _prompts(case):
            edits = [edit.prompt for edit in stored.retriever(prompt, stored.stored, backbone)]
            told = {"first": edits[:1] == [own], "among": own in edits, "none": not edits}
            for found, hit in told.items():
                hits.setdefault((asked, found), []).append(float(hit))
        if done % LOOKED == 0 or done == len(cases):
            yield done, [Retrieved(asked, found, *mean_of(of)) for (asked, found), of in hits.items()]


def _prompts(case: Case) -> list[tuple[str, str]]:
    """(what it is, the prompt) of what is looked up for an edit."""
    return [
        ("own prompt", case.request.prompt),
        *(("another wording", text) for text in case.record.paraphrases[:1]),
        *(("neighbour", probe.prompt) for probe in case.record.locality[:1]),
    ]
