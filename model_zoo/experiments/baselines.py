"""The paper's other methods on the edits that InstructEdit and MEND are compared on."""

from collections.abc import Sequence

from ..methods import EditMethod
from ..methods.calinet import CaliNet
from ..methods.grace import GRACE
from ..methods.ke import KE
from ..methods.memit import MEMIT
from ..methods.rome import ROME
from ..methods.serac import SERAC
from .base import Experiment
from .lab import Lab
from .training import spread

COMPARED: tuple[type[EditMethod], ...] = (CaliNet, SERAC, GRACE, ROME, MEMIT)


def baselines(lab: Lab) -> list[dict]:
    """KE trained as the editors of the comparison are; SERAC with the editor that ships, where one does; the
    others need none.
    """
    cases = lab.cases()
    rows = lab.measure(KE.pretty_name, [lab.editor(method=KE)], cases)
    for method in COMPARED:
        if not method.needs_editor or method.name in lab.shipped:
            rows += lab.measure(method.pretty_name, [lab.finished(method)], cases)
    return rows


def _finding(rows: Sequence[dict]) -> str:
    return f"{spread(rows)} SERAC's editor is the one that ships, whose training its card tells."


BASELINES = Experiment(
    "baselines", "The paper's other methods", "What do they do on the same edits?", baselines, _finding
)
