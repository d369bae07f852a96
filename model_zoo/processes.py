"""Several processes that do one piece of work together: a share each, and sums over all.

`torchrun` and `accelerate launch` start them and say by the same environment variables how many there are.
Every process loads the base model; what has to be the same in all of them is sent by the first.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """This process's number and how many there are. Alone, everything is its own share and every sum is of
    one.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part: every size-th."""
        return items[self.rank :: self.size]

    def sums(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Numbers by name, each the sum over all processes, which must give the same names."""
        if self.size == 1:
            return dict(numbers)
        told = torch.tensor(list(numbers.values()), dtype=torch.float64)
        dist.all_reduce(told)
        return dict(zip(numbers, told.tolist(), strict=True))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients; those that no process has a gradient of get none."""
        if self.size == 1:
            return
        learned = list(parameters)
        has = [p.grad is not None for p in learned]
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in learned]
        total = torch.cat([*parts, torch.tensor(has).to(parts[0])])
        dist.all_reduce(total)
        *grads, times = total.split([*(p.numel() for p in learned), len(learned)])
        for p, grad, n in zip(learned, grads, times.tolist(), strict=True):
            p.grad = grad.view_as(p) if n else None

    def from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors, alike in all processes, by the first one's."""
        if self.size > 1:
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, 0)
                tensor.data.copy_(sent)

    def texts(self, text: str) -> list[str]:
        """Every process's text, in their order."""
        if self.size == 1:
            return [text]
        data = text.encode()
        sizes = torch.zeros(self.size, dtype=torch.long)
        sizes[self.rank] = len(data)
        dist.all_reduce(sizes)
        own = torch.zeros(int(sizes.max()), dtype=torch.uint8)
        own[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [bytes(part[:n].tolist()).decode() for part, n in zip(found, sizes.tolist(), strict=True)]


def together() -> Processes:
    """The processes that were started together; this one alone outside `started`."""
    return Processes(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Processes()


@contextmanager
def started() -> Iterator[None]:
    """Within this block the processes that a launcher started know each other. Nothing changes where none
    did, or within another such block.
    """
    told = {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() and int(os.environ["WORLD_SIZE"]) > 1
    if not told or dist.is_initialized():
        yield
        return
    dist.init_process_group()  # gloo for what lies in memory, NCCL for what lies on GPUs
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_gpu() -> str:
    """This process's GPU, one for each on a machine. ValueError where there are too few."""
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise ValueError(
            f"Process {local} on this machine has no GPU of its own: there are {there}. Start one process "
            "for each GPU, or give --device cpu."
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"
