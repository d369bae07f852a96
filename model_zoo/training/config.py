"""The settings of a meta-training: the paper's protocol by default, and the recipe of the shipped editor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..methods.hyper_config import HyperConfig
from ..tasks import TASKS


@dataclass(frozen=True)
class MetaConfig:
    """Schedule and loss of the meta-training."""

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS.values() if task.trained)
    shares: tuple[float, ...] = ()  # of the training edits, by task; empty: the tasks take turns
    outer_questions: bool = True  # whether paraphrases of the outer loss may be questions
    instructed: bool = True  # False trains MEND: the same data without instructions
    remarks: bool = False  # lengthen some instructions by remarks that say nothing
    scope_share: float = 0.0  # of the steps: edits whose instruction decides how far they reach
    stack_share: float = (
        0.0  # of the steps: all their edits solved jointly, as they live together in a session
    )
    crowd_share: float = 0.0  # of the steps: the same with `crowd` edits
    crowd: int = 60
    blocks: int = 3  # edit the MLP matrices of the last blocks
    steps: int = 3600
    edits: int = 12  # edits a step, tasks in turn
    rephrased: int = 3  # outer prompts per edit beside the edit prompt itself
    local: int = 3  # locality prompts per edit
    # locality rows of what follows the target: behind target and period the edited model goes on as the base
    # does, for so many tokens; an open prompt stays for as many; 0: none
    behind: int = 0
    near: int = 3  # more locality prompts per edit: its nearest facts in the edit's own phrasing
    instructed_share: float = (
        0.2  # of outer prompts carry the instruction; people type plain ones after an edit
    )
    lr: float = 5e-4
    # of the few numbers that size whole edits: edit rates and ridge strengths (as logarithms), FAST_HEADS
    edit_rate_lr: float = 3e-3
    warmup: int = 50
    c_edit: float = 1.0
    c_loc: float = 1.0
    c_lead: float = (
        0.0  # that what should be said leads: the target, and of locality prompts what the base says first
    )
    c_reach: float = (
        0.0  # added to c_lead for what should be said, in steps whose instructions decide the reach
    )
    c_read: float = 0.5  # that wordings of one scope be read alike, and of two apart
    wordings: int = 0  # read for that in every step
    fits: Mapping[str, tuple[float, float]] = field(
        default_factory=dict
    )  # (a, b) that wordings of a scope are to say in the end; see fitting.py
    target_end: str = "."  # joined to the edit's own target, so that it ends as a word
    clip: float = 10.0
    calibration: int = 20  # batches that set the normalisation statistics
    records: int = 0  # of every task, drawn once; 0: all that the source has
    variants: int = 0  # ways in which an edit's rows are drawn, fixed by the seed; 0: anew every time
    kept_trunk: bool = False  # keep what the unedited blocks make of every row on disk (trunk.py)


STUDIO = MetaConfig(
    steps=2200,
    instructed_share=0.1,
    remarks=True,
    scope_share=0.5,
    stack_share=0.15,
    crowd_share=0.05,
    c_loc=1.3,
    wordings=100,
    c_lead=0.5,
    c_reach=2.0,
    fits={"statement": (1.6, 0.03), "locked": (1.0, 0.1)},
)
WHITENED = HyperConfig(edit_lr=1.5e-4, whitened=0.1)
STUDIO_NETWORK = WHITENED.model_copy(
    update={"instruction": 64, "span": 3, "common": 32, "joint": True, "fitted": True}
)
REAL = MetaConfig(
    steps=2600,
    edits=8,
    rephrased=2,
    local=2,
    near=2,
    behind=12,
    c_loc=2.0,
    warmup=50,
    edit_rate_lr=3e-3,
    records=1000,
    variants=2,
    kept_trunk=True,
)
REAL_NETWORK = WHITENED.model_copy(update={"instruction": 64})
RECIPES = {
    "paper": (MetaConfig(), HyperConfig()),
    "studio": (STUDIO, STUDIO_NETWORK),
    "real": (REAL, REAL_NETWORK),
}
