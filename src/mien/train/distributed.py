"""Training on several processes, as `torchrun` starts them: each takes its shard of every batch.

All processes hold the same weights and take the same steps, by the sum of their gradients. The result is
that of a single process, up to rounding, and up to dropout, which differs by process. Gradients are summed
once per step rather than averaged as in DistributedDataParallel: the loss already contains a shard's
fraction of the batch, and shards may differ in size.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import nn

from mien.errors import EngineError, RunError, RunLockedError
from mien.features.device import open_device
from mien.locks import lock_run

__all__ = ["SINGLE_PROCESS", "World", "join_world"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The processes that train together, seen from this one."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # the rank on this machine

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this name; "cuda" is a GPU per process."""
        if self.size > 1 and name == "cuda":
            name = f"cuda:{self.local_rank}"
        device = open_device(name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        return device

    def shard(self, rows: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " shard"]:
        """This process's rows of a batch; may be empty."""
        return rows[self.rank :: self.size]

    def all_reduce_sum(self, value: float, device: torch.device) -> float:
        """The sum of a value over all processes."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(number)
        return float(number)

    def broadcast(self, value: float, device: torch.device) -> float:
        """The main process's value."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(number, src=0)
        return float(number)

    def all_reduce_gradients(self, model: nn.Module) -> None:
        """Sum every gradient over all processes; a weight without a gradient in any of them keeps none."""
        if self.size == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        has = torch.tensor([float(weight.grad is not None) for weight in weights], device=weights[0].device)
        dist.all_reduce(has)
        reduced = [weight for weight, count in zip(weights, has.tolist(), strict=True) if count]
        # One message instead of hundreds.
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in reduced]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [grad.numel() for grad in grads])
        for weight, summed in zip(reduced, pieces, strict=True):
            weight.grad = summed.view_as(weight)

    def barrier(self) -> None:
        """Wait until all processes get here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """The main process runs the block before the others, which then find the files it made."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    @contextmanager
    def lock_run(self, run: Path, device: str) -> Iterator[None]:
        """Locks a run directory for all of these processes: the main process holds the lock.

        Args:
            run: The run directory.
            device: The name of the device to train on.

        Raises:
            RunLockedError: Another process writes to the run. Raised in all processes.
        """
        if self.size == 1:
            with lock_run(run):
                yield
            return
        with ExitStack() as stack:
            error: RunError | None = None
            if self.is_main:
                try:
                    stack.enter_context(lock_run(run))
                except RunError as caught:
                    error = caught
            if self.broadcast(float(error is not None), self.device(device)):
                raise error or RunLockedError(
                    f"the main process could not lock {run}", hint="see the error of the main process"
                )
            yield


SINGLE_PROCESS = World()


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started with this one; `SINGLE_PROCESS` without `torchrun`.

    Raises:
        EngineError: Another of these processes has ended within the block.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield SINGLE_PROCESS
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
    except RuntimeError as error:
        # Gloo's own errors have no type, but name its files.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise EngineError(
            "another process of this training has ended",
            hint="see its error; if it has none, it was killed, perhaps because the memory ran out. "
            "Run again to resume the training",
        ) from error
    finally:
        dist.destroy_process_group()
