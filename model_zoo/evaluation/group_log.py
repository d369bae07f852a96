"""Finished groups of an evaluation, kept so that a run that was killed goes on where it was."""

import glob
import json
from dataclasses import asdict
from pathlib import Path

from ..processes import Processes
from .scoring import Row


class GroupLog:
    """Finished groups, in memory and, with `out`, as lines of a file beside it; each of several processes has
    a file of its own, and all that are there are read.
    """

    def __init__(self, out: Path | None, config: dict, processes: Processes | None = None):
        self.rows: dict[tuple[str, str, int], list[Row]] = {}
        self.processes = processes or Processes()
        self.out, rank = out, self.processes.rank
        if out is None:
            return
        head, own = json.dumps(config, sort_keys=True), out.with_name(f"{out.name}.partial{rank or ''}")
        goes_on = False  # another editor, base or file is another run
        for path in self._files():
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if lines[0] == head:
                goes_on |= path == own
                for line in lines[1:]:
                    self._take(line)
        self.file = own.open("a" if goes_on else "w", encoding="utf-8")
        self._write("" if goes_on else head)  # a line break first: the last line may have been cut short

    def _files(self) -> list[Path]:
        """Those of all processes."""
        assert self.out is not None
        return sorted(self.out.parent.glob(glob.escape(f"{self.out.name}.partial") + "*"))

    def _take(self, line: str) -> None:
        try:
            data = json.loads(line)
            self.rows[data["method"], data["task"], data["start"]] = [Row(**row) for row in data["rows"]]
        except (ValueError, KeyError, TypeError):  # the line that was being written when the run was killed
            return

    def _write(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()

    def has(self, method: str, task: str, start: int) -> bool:
        return (method, task, start) in self.rows

    def add(self, method: str, task: str, start: int, rows: list[Row]) -> None:
        self.rows[method, task, start] = rows
        if self.out:
            self._write(self._line(method, task, start))

    def _line(self, method: str, task: str, start: int) -> str:
        rows = [asdict(row) for row in self.rows[method, task, start]]
        return json.dumps({"method": method, "task": task, "start": start, "rows": rows}, ensure_ascii=False)

    def gather(self) -> None:
        """Have the groups of all processes in each."""
        for text in self.processes.texts("\n".join(self._line(*key) for key in self.rows)):
            for line in text.split("\n"):
                self._take(line)

    def of(self, method: str, task: str) -> list[Row]:
        return [
            row for (m, t, _), rows in sorted(self.rows.items()) if (m, t) == (method, task) for row in rows
        ]

    def close(self) -> None:
        """Every process's file goes: all is gathered and written elsewhere."""
        if self.out is None:
            return
        self.file.close()
        if self.processes.first:
            for path in self._files():
                path.unlink()
