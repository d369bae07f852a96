"""MEND (Mitchell et al. 2022, arXiv 2110.11309): the same hypernetwork without instructions.

The code is InstructEdit's, whose request is then the bare prompt, in training and in use. The two stay
comparable because nothing else differs.
"""

from .hyper_config import HyperConfig
from .instructedit import InstructEdit


class MEND(InstructEdit):
    """A trained editor that is given no instruction."""

    name = "mend"
    pretty_name = "MEND"
    reference_url = "https://arxiv.org/abs/2110.11309"
    reads_instruction = False

    @classmethod
    def adapted(cls, network: HyperConfig) -> HyperConfig:
        return network.blind
