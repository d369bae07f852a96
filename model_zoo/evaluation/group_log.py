"""Finished groups of an evaluation, kept so that a run that was killed goes on where it was."""

import json
from dataclasses import asdict
from pathlib import Path

from .scoring import Row


class GroupLog:
    """Finished groups, in memory and, with `out`, as lines of a file beside it."""

    def __init__(self, out: Path | None, config: dict):
        self.rows: dict[tuple[str, str, int], list[Row]] = {}
        self.path = out and out.with_name(out.name + ".partial")
        head = json.dumps(config, sort_keys=True)  # another editor, base or file is another run
        if self.path is None:
            return
        if self.path.exists() and (lines := self.path.read_text(encoding="utf-8").split("\n"))[0] == head:
            for line in lines[1:]:
                self._take(line)
        self.file = self.path.open("a" if self.rows else "w", encoding="utf-8")
        self._write("" if self.rows else head)  # a line break first: the last line may have been cut short

    def _take(self, line: str) -> None:
        try:
            data = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written when the run was killed
            return
        self.rows[data["method"], data["task"], data["start"]] = [Row(**row) for row in data["rows"]]

    def _write(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()

    def has(self, method: str, task: str, start: int) -> bool:
        return (method, task, start) in self.rows

    def add(self, method: str, task: str, start: int, rows: list[Row]) -> None:
        self.rows[method, task, start] = rows
        if self.path:
            line = {"method": method, "task": task, "start": start, "rows": [asdict(row) for row in rows]}
            self._write(json.dumps(line, ensure_ascii=False))

    def of(self, method: str, task: str) -> list[Row]:
        return [
            row for (m, t, _), rows in sorted(self.rows.items()) if (m, t) == (method, task) for row in rows
        ]

    def close(self) -> None:
        if self.path is not None:
            self.file.close()
            self.path.unlink()
