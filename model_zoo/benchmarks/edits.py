"""The common fields of a row -> Records."""

from collections.abc import Iterator

from ..records import Probe, Record
from ..request import EditRequest
from .rows import FIELDS, FLAT, Missing, Row, filled, listed, probes, shortened, texts_of


def read_fields(row: Row, task: str) -> Iterator[Record]:
    """One edit in fields of any of the common names (rows.FIELDS)."""
    subject = next(iter(texts_of(row.first("subject"))), "")
    prompt, target = row.needed(*FIELDS["prompt"]), row.needed(*FIELDS["target"])
    yield edit_record(row, task, filled(prompt, subject), target, subject)


def edit_record(row: Row, task: str, prompt: str, target: str, subject: str) -> Record:
    """The record of an edit that was found, with all that the row's common fields say about it."""
    flat = " ".join(target.split()) if "\n" in target else target
    if flat != target:
        row.wrong("target", f"its line breaks are read as spaces: '{shortened(flat)}'")
    paraphrases = (text for text in wordings(row, subject) if text != prompt)
    return Record(
        EditRequest(prompt, flat, task, next(iter(texts_of(row.first("instruction"))), None)),
        subject or prompt,
        next(iter(texts_of(row.first("truth"))), ""),
        tuple(dict.fromkeys(paraphrases)),
        _around(row, "locality", subject),
        portability=_around(row, "portability", subject),
    )


def wordings(row: Row, subject: str) -> Iterator[str]:
    """The paraphrases of a row, slots filled; one that cannot be is left out and listed."""
    for text in listed(row.first("paraphrases")):
        try:
            yield filled(text, subject)
        except Missing as missing:
            row.wrong("paraphrases", f"{missing.reason}; left out")


def _around(row: Row, purpose: str, subject: str) -> tuple[Probe, ...]:
    """The probes of a purpose, nested and flat; of locality they may be open."""
    may_be_open = purpose == "locality"
    found = list(probes(row.first(purpose), row, purpose, subject, may_be_open))
    for asked, answers in FLAT[purpose]:
        if texts_of(prompts := row.take(asked)):
            pair = {"prompt": prompts, "ground_truth": row.take(*answers)}
            found += probes(pair, row, asked, subject, may_be_open)
    first: dict[str, Probe] = {}
    for probe in found:
        first.setdefault(probe.prompt, probe)
    return tuple(first.values())
