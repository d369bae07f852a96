"""Editing-gradient directions: do edits of one task point the same way, and is it the instruction that makes
them?
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from ..directions import DirectionSpace
from ..methods.mend import MEND
from ..request import EditRequest
from .base import Experiment
from .lab import Lab
from .render import GEOMETRY_VIEW

PER_TASK = 40


def _shuffled(requests: list[EditRequest], seed: int) -> list[EditRequest]:
    """Instructions dealt out anew over all edits, whatever their task."""
    instructions = [request.instruction for request in requests]
    random.Random(seed).shuffle(instructions)
    return [
        replace(request, instruction=instruction)
        for request, instruction in zip(requests, instructions, strict=True)
    ]


def directions(lab: Lab) -> list[dict]:
    """Silhouette by task in the full space and in two components, for raw gradients and for the updates of
    each finished editor.
    """
    rows = []
    editors = [lab.finished(), *([lab.finished(MEND)] if MEND.name in lab.shipped else [])]
    for editor in editors:
        space = DirectionSpace(lab.backbone, editor, lab.source, PER_TASK, lab.seed)
        plain, instructed = space.requests(False), space.requests(True)
        variants = {"without instruction": (plain, True)}
        if editor.reads_instruction:
            variants |= {
                "with instruction": (instructed, True),
                "with instruction, its tokens' rows removed": (instructed, False),
                "with shuffled instructions": (_shuffled(instructed, lab.seed), True),
            }
        for label, (requests, prefix_rows) in variants.items():
            for view in ("gradient", "update"):
                if view == "gradient" and not editor.reads_instruction:
                    continue  # the raw gradient does not depend on the editor
                scores = space.separation(requests, view, prefix_rows)
                direction = "raw gradient" if view == "gradient" else f"{editor.pretty_name} update"
                rows.append({"variant": f"{direction}, {label}", **scores, "n": len(requests)})
    return rows


def _finding(rows: Sequence[dict]) -> str:
    kinds = dict.fromkeys(row["variant"].partition(", ")[0] for row in rows)
    found = {row["variant"]: row["silhouette_full"] for row in rows}
    parts = []
    for kind in kinds:
        without, with_one = (found.get(f"{kind}, {how} instruction") for how in ("without", "with"))
        if without is not None and with_one is not None:
            parts.append(f"{kind}: {without:+.2f} without, {with_one:+.2f} with instruction")
    return f"Silhouette of the tasks in the full space, {'; '.join(parts)}."


DIRECTIONS = Experiment(
    "directions",
    "Editing-gradient directions",
    "Do the tasks' directions separate, and does the instruction separate them?",
    directions,
    _finding,
    uses_finished=True,
    view=GEOMETRY_VIEW,
)
