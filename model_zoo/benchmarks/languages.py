"""Rows that say the same in several languages (Bi-ZsRE, arXiv 2309.08952; BMIKE-53, arXiv 2406.17764)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ..records import Record
from .files import raw_file
from .rows import Problem
from .shapes import read_row


def in_languages(path: Path, task: str = "counterfact") -> list[Mapping[str, Record]]:
    """{language: record} of every row that can be read in all languages that the first one has. ValueError
    where there is none.
    """
    found: list[Mapping[str, Record]] = []
    problems: list[Problem] = []
    for where, data in raw_file(path).rows:
        if not isinstance(data, dict) or not all(isinstance(part, dict) for part in data.values()):
            raise ValueError(
                f"Row {where} of {path.name} is not by language; needed is one object for each language: "
                '{"en": {...}, "zh": {...}}.'
            )
        row = {name: read_row(part, where, task, problems).records for name, part in data.items()}
        if all(len(records) == 1 for records in row.values()) and (not found or set(row) == set(found[0])):
            found.append(MappingProxyType({name: records[0] for name, records in row.items()}))
    if not found:
        raise ValueError(f"{path.name} holds no row that can be read in every language.")
    return found


def with_translations(record: Record, others: Iterable[Record]) -> Record:
    """The record with the language and the translations of the one among `others` that is the same edit; as
    it is where none has any.
    """
    edit = (record.request.prompt, record.request.target)
    same = (other for other in others if (other.request.prompt, other.request.target) == edit)
    found = next((other for other in same if other.translations), record)
    return replace(record, language=found.language, translations=found.translations)
