"""What instructions say of an edit's strength, said of every wording alike: one regression when training is
over.

Training carries the edit of one sentence to where that sentence is just said, so one whose instruction is
read only in part stops just before. So the head that says (a, b) of a reading (see Hypernetwork.strength) is
moved towards what a recipe asks of a scope's training wordings: more than a = 1, which counts as 1, leaves
room for those half read. Most of them are half read as `locked`, which therefore follows the measure as well;
that costs little as long as a locked edit holds hardly anything, whatever its strength. What is not asked for
stays nearly as training left it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from ..methods.capture import request_row
from ..methods.hypernetwork_method import HypernetworkMethod
from ..methods.instructedit import InstructEdit
from ..methods.instruction import InstructionReader
from ..request import EditRequest
from ..scopes import SCOPES, TASK_WORD
from ..tasks import TASKS

RIDGE = 0.01  # of the mean of the Gram matrix' diagonal
AT_ONCE = 64  # instructions per forward pass

# a task word, instructions under it, and the (a, b) that they ask, if any
Asked = tuple[str, Sequence[str], Sequence[float] | None]


@torch.no_grad()
def refit(editor: HypernetworkMethod, fits: Mapping[str, Sequence[float]]) -> None:
    """Move an editor's strength head by the ridge regression of what `fits` asks, (a, b) per scope, on what
    it reads of one reading of each training wording, every scope and task weighing the same. Nothing asked,
    or no such head: the editor stays as it is.
    """
    if not isinstance(editor, InstructEdit) or editor.network.strength_head is None or not fits:
        return
    head = editor.network.strength_head
    asked: list[Asked] = [(TASK_WORD, scope.first_readings, fits.get(name)) for name, scope in SCOPES.items()]
    tasks = [TASKS[name] for name in editor.config.tasks]
    asked += [
        (task.name, [task.fill(instruction) for instruction in task.training_instructions], None)
        for task in tasks
    ]
    read, residual = [], []
    for word, instructions, fit in asked:
        reading = _readings(editor, word, instructions).double()
        said = reading @ head.weight.T.double()
        read.append(reading / len(reading) ** 0.5)
        residual.append(
            (said.new_tensor(fit) - said if fit else torch.zeros_like(said)) / len(reading) ** 0.5
        )
    x, y = torch.cat(read), torch.cat(residual)
    gram = x.T @ x
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    head.weight += torch.linalg.solve(gram, x.T @ y).T.to(head.weight)


def _readings(editor: InstructEdit, word: str, instructions: Sequence[str]) -> Tensor:
    """What is read of instructions, [n, instruction]; the edit under them is not read."""
    rows = [
        request_row(editor.backbone, EditRequest("It is", "so", word, instruction))
        for instruction in instructions
    ]
    reader = cast(InstructionReader, editor.network.reader)  # where there is a strength head there is one
    return torch.cat(
        [reader(editor.instructions(rows[i : i + AT_ONCE])) for i in range(0, len(rows), AT_ONCE)]
    )
