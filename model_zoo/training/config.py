"""The settings of a meta-training: the paper's protocol by default, and the recipe of the shipped editor."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter, ValidationError

from ..methods.hyper_config import HyperConfig
from ..tasks import TASKS


@dataclass(frozen=True)
class MetaConfig:
    """Schedule and loss of the meta-training."""

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS.values() if task.trained)
    shares: tuple[float, ...] = ()  # of the training edits, by task; empty: the tasks take turns
    questions: bool = False  # records of files are asked as questions, too (sources/questions.py)
    chat: float = 0.0  # of the edits ask their questions in the chat template
    rewhitened: bool = False  # going on from an editor, its keys are measured anew
    outer_questions: bool = True  # whether paraphrases of the outer loss may be questions
    instructed: bool = True  # False trains MEND: the same data without instructions
    remarks: bool = False  # lengthen some instructions by remarks that say nothing
    scope_share: float = 0.0  # of the steps: edits whose instruction decides how far they reach
    stack_share: float = (
        0.0  # of the steps: all their edits solved jointly, as they live together in a session
    )
    crowd_share: float = 0.0  # of the steps: the same with `crowd` edits
    crowd: int = 60
    blocks: int = 3  # edit the MLP matrices of so many blocks
    first: int | None = None  # the first of them; None: the last ones of the model
    steps: int = 3600
    edits: int = 12  # edits a step, tasks in turn
    rephrased: int = 3  # outer prompts per edit beside the edit prompt itself
    local: int = 3  # locality prompts per edit
    # tokens of the base's own continuation that locality rows hold, and what follows the target with them;
    # 0: the records' answers
    goes_on: int = 0
    about: int = 0  # locality rows of other prompts about the subject, gone on with for `goes_on` tokens
    near: int = 3  # more locality prompts per edit: its nearest facts in the edit's own phrasing
    instructed_share: float = (
        0.2  # of outer prompts carry the instruction; people type plain ones after an edit
    )
    lr: float = 5e-4
    # of the few numbers that size whole edits: edit rates and ridge strengths (as logarithms), FAST_HEADS
    edit_rate_lr: float = 3e-3
    warmup: int = 50
    by_row: bool = False  # the outer loss is a mean over rows, each the mean of its tokens; else over tokens
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
    stop: bool = False  # behind the target the text ends, in the edit's own row and in those that follow
    clip: float = 10.0
    calibration: int = 20  # batches that set the normalisation statistics
    rates_found: bool = False  # edit rates begin where the outer loss is lowest, not at the network's edit_lr
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
    about=1,
    goes_on=6,
    stop=True,
    by_row=True,
    c_loc=2.5,
    c_lead=0.5,
    stack_share=0.35,
    questions=True,
    chat=0.5,
    warmup=50,
    records=700,
    variants=1,
    kept_trunk=True,
    rates_found=True,
)
REAL_NETWORK = WHITENED.model_copy(
    update={
        "rank": 144,
        "whitened_rank": 64,
        "joint": True,
        "corrected": True,
        "instruction": 64,
        "prefixed": False,
        "assured": True,
    }
)
RECIPES = {
    "paper": (MetaConfig(), HyperConfig()),
    "studio": (STUDIO, STUDIO_NETWORK),
    "real": (REAL, REAL_NETWORK),
}
RECIPES_IN_WORDS = {
    "paper": "the published protocol",
    "studio": "scopes, joint solves and whitened keys too, as the editor that ships",
    "real": "on records, for a pretrained model",
}


def changed(
    config: MetaConfig, network: HyperConfig, values: Mapping[str, str]
) -> tuple[MetaConfig, HyperConfig]:
    """Both with other values, given as people type them (lists as in JSON). ValueError names what is
    wrong.
    """
    known, own = asdict(config), network.model_dump()
    for name, text in values.items():
        if name not in known.keys() | own.keys():
            raise ValueError(
                f"There is no setting '{name}'; there are {', '.join(sorted(known.keys() | own.keys()))}."
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        (known if name in known else own)[name] = value
    try:
        return TypeAdapter(MetaConfig).validate_python(known), HyperConfig.model_validate(own)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from error
