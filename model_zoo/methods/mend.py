"""MEND (Mitchell et al. 2022, arXiv 2110.11309): the same hypernetwork without instructions.

The code is InstructEdit's, whose request is then the bare prompt, in training and in use. The two stay
comparable because nothing else differs.
"""

from . import MethodInfo
from .instructedit import InstructEdit


class MEND(InstructEdit):
    name = "mend"


INFO = MethodInfo(
    name=MEND.name,
    pretty_name="MEND",
    reference_url="https://arxiv.org/abs/2110.11309",
    needs_editor=True,
    supports_instruction=False,
    low_rank=True,
    load=MEND.load,
)
