"""docs/RECORDS.md, from the declarations of the shapes and fields."""

import json

from .files import WRAPPERS
from .rows import FIELDS, FLAT
from .shapes import SHAPES
from .tables import DELIMITERS

_HEAD = """# Files of records

What can be dropped into the page, and given to `evaluate --records`, `evaluate --data` and `train --data`.
Written by `python -m model_zoo records > docs/RECORDS.md` from what the readers declare;
`python -m model_zoo records FILE` says what is read of a file, and what is not.

- **Formats**: JSON (a list, one object, rows by name, or rows under one key: {wrappers}), JSON lines, and
  tables with a header, separated by {delimiters}. They are told apart by what they hold.
  UTF-8 and UTF-16, with or without its mark; else Shift-JIS, EUC-KR, GB18030, Windows-1251 or -1252 is
  guessed from the letters, and said. A row with single broken bytes is refused.
- Excel's `sep=` line, the rule of a table in Markdown, empty rows and remarks (`//`, `#`) between JSON lines
  are passed over. A row with more cells than names is refused, as is one whose columns or keys of one name
  differ.
- **Names** of fields are read in any case, with spaces or hyphens for underscores.
- **Slots**: `{{}}` or `{{subject}}` in a prompt is filled from the row's subject; a row whose slot cannot be
  filled is refused.
- **Lists in a cell** of a table: JSON, or parts separated by bars; a probe in text is `prompt => answer`.
- **Probes** may be a list, lists by kind, parallel lists of prompts and answers, or prompts alone: of
  locality then whatever the base model says is to stay.
- A row that lacks a prompt or a target is refused with the reason, a probe that lacks something is left out
  and listed, and so is every field that nothing reads.

## Fields

| for | names, the first that is there counts |
|---|---|
"""


def page() -> str:
    """The page."""
    names = [f"| {purpose} | {_code(fields)} |" for purpose, fields in FIELDS.items()]
    flat = [
        f"| {purpose}, prompt and answer beside each other | "
        + "; ".join(f"`{asked}` and {_code(answers)}" for asked, answers in pairs)
        + " |"
        for purpose, pairs in FLAT.items()
    ]
    head = _HEAD.format(wrappers=_code(WRAPPERS), delimiters=", ".join(DELIMITERS.values()))
    parts = [head + "\n".join([*names, *flat]), "## Shapes\n\nThe first that fits a row is taken."]
    for shape in SHAPES:
        task = f" Task: {shape.task}." if shape.task else ""
        doc = " ".join((shape.read.__doc__ or "").split())
        example = json.dumps(shape.example, ensure_ascii=False, indent=2)
        parts.append(f"### {shape.name}\n\n{doc} From {shape.source}.{task}\n\n```json\n{example}\n```")
    return "\n\n".join(parts) + "\n"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
