"""What an editor's keys are measured against before it is trained."""

from collections.abc import Sequence

from torch import Tensor

from ..methods.hypernetwork_method import HypernetworkMethod
from ..progress import Progress
from ..statistics import Pair, key_covariance, keys_by_group
from .drawing import Drawing

CHAT_TURNS = 192  # questions in the chat template whose keys are averaged


def measure_keys(editor: HypernetworkMethod, drawn: Drawing, fresh: bool, progress: Progress) -> None:
    """What keys are measured against, by a whitened network and in joint solves; a network that has learned
    (not `fresh`) keeps what it learned with. Nothing, where the method measures none.
    """
    if not editor.measures_keys:
        return
    network, modules = editor.network, list(editor.config.modules)
    hyper, source, seed = editor.config.hyper, drawn.source, drawn.seed
    if fresh or not hyper.whitened:
        turns = drawn.sampler.chat_turns(CHAT_TURNS) if drawn.config.chat else []
        statements = source.statements(seed)
        editor.covariance = _covariance(editor, statements, turns, modules, progress)
    if fresh:
        network.whiten(editor.covariance)
    if hyper.common and not network.has_common:
        network.find_common(keys_by_group(editor.backbone, source.relations(seed), modules, progress))
    if hyper.whitened:
        editor.covariance = network.covariances()


def _covariance(
    editor: HypernetworkMethod,
    statements: Sequence[Pair],
    turns: Sequence[Pair],
    modules: list[str],
    progress: Progress,
) -> dict[str, Tensor]:
    """Each matrix's mean u u^T where the base answers: known facts and, where edits are asked in the chat
    template, in equal parts questions in it. What all turns of a chat have in common is large there, and an
    edit must not be made of it.
    """
    stated = key_covariance(editor.backbone, statements, modules, progress)
    if not turns:
        return stated
    asked = key_covariance(editor.backbone, turns, modules, progress)
    return {path: (stated[path] + asked[path]) / 2 for path in modules}
