"""One training on several processes, as `torchrun` starts them: each takes its part of every batch.

Goes in: who we are among how many. Comes out: this process's rows, sums over all processes.
Knows nothing about: models' insides, data, files.

All have the same weights, which move by the same gradient: the sum of what each finds for its rows. So the
result is that of a single process, up to rounding (and dropout, which differs by process). Gradients are
summed once a step, not averaged as by DistributedDataParallel: a part's share of the batch is in its loss,
and parts need not be of one size.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import nn

from mien.features.device import open_device

__all__ = ["ALONE", "World", "join"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those on this machine

    @property
    def is_first(self) -> bool:
        """Only the first writes."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this name, or of several alike, ours."""
        if self.size > 1 and name == "cuda":
            name = f"cuda:{self.local_rank}"
        device = open_device(name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        return device

    def part(self, rows: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " part"]:
        """Our part of a batch, which may be empty."""
        return rows[self.rank :: self.size]

    def total(self, value: float, device: torch.device) -> float:
        """The sum over all processes."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(number)
        return float(number)

    def agree(self, value: float, device: torch.device) -> float:
        """The first's value."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(number, src=0)
        return float(number)

    def add_gradients(self, model: nn.Module) -> None:
        """Every gradient becomes the sum over all processes; where nobody has one, there is none."""
        if self.size == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        has = torch.tensor([float(weight.grad is not None) for weight in weights], device=weights[0].device)
        dist.all_reduce(has)
        taken = [weight for weight, count in zip(weights, has.tolist(), strict=True) if count]
        # One message instead of hundreds.
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in taken]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        parts = torch.split(flat, [grad.numel() for grad in grads])
        for weight, summed in zip(taken, parts, strict=True):
            weight.grad = summed.view_as(weight)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The block is run by the first, and then by the others, who find what it has made."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


ALONE = World()


@contextmanager
def join(device: str) -> Iterator[World]:
    """The processes that `torchrun` started with this one; `ALONE` without it."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield ALONE
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        world = World(
            rank=dist.get_rank(),
            size=dist.get_world_size(),
            local_rank=dist.get_node_local_rank(fallback_rank=0),
        )
        log.info("process %d of %d", world.rank + 1, world.size)
        yield world
    finally:
        dist.destroy_process_group()
