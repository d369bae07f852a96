"""What a model will need in memory before it is loaded, and what there is: a refusal with numbers beats a
crash.
"""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import PretrainedConfig

from .families import skeleton
from .progress import readable

EDIT_TOKENS = 512  # tokens of the longest batch that is reckoned with: edit rows, paraphrases, neighbours
ACTIVATIONS = (
    16  # float32 vectors of the model's width that a forward and backward pass keep per token and block
)
_CGROUP = Path("/sys/fs/cgroup")


class TooLarge(ValueError):
    """A model that does not fit beside what is loaded."""


@dataclass(frozen=True)
class Need:
    """Bytes: the weights as loaded, the work of an edit, and what the device has free."""

    parameters: int
    weights: int
    edit: int
    free: int

    @property
    def total(self) -> int:
        return self.weights + self.edit

    def check(self, name: str, device: str, dtype: str) -> None:
        """TooLarge with the numbers when it will not fit."""
        if self.total <= self.free:
            return
        raise TooLarge(
            f"{name} needs about {readable(self.total)} ({readable(self.weights)} for "
            f"{self.parameters / 1e9:.2g} billion weights in {dtype}, "
            f"{readable(self.edit)} for an edit), but {device} has {readable(self.free)} free. "
            "Choose a smaller model, a narrower --dtype, or --quantize."
        )


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of this machine, was not enough."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, on a CPU
    )


def parameter_count(config: PretrainedConfig) -> int:
    """Weights of the model that this configuration describes, tied ones once; nothing is allocated."""
    return sum(p.numel() for p in skeleton(config).parameters())


def need(config: PretrainedConfig, bits: int, device: str) -> Need:
    """`bits`: of one weight as it will lie in memory."""
    parameters, config = parameter_count(config), config.get_text_config()
    activations = EDIT_TOKENS * config.num_hidden_layers * config.hidden_size * ACTIVATIONS * 4
    logits = EDIT_TOKENS * config.vocab_size * 4
    return Need(parameters, parameters * bits // 8, activations + logits, free_memory(device))


def free_memory(device: str) -> int:
    """Bytes free on the device; for the CPU within the container's limit, over all GPUs for CUDA."""
    if device.startswith("cuda"):
        gpus = range(torch.cuda.device_count()) if device == "cuda" else [int(device.partition(":")[2])]
        return sum(torch.cuda.mem_get_info(i)[0] for i in gpus)
    free = psutil.virtual_memory().available
    try:
        limit, used, stat = (
            (_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current", "memory.stat")
        )
        reclaimable = dict(line.split() for line in stat.splitlines()).get(
            "inactive_file", 0
        )  # page cache gives way
        return free if limit == "max" else min(free, int(limit) - int(used) + int(reclaimable))
    except (OSError, ValueError):
        return free
