"""A batch on its way through a crew, and how far it is to blame for the workers that were lost over it.

Goes in: requests, and losses. Comes out: replies by way of a future, or that it is to be given up.
Knows nothing about: workers, threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from mien.describe.engine import Reply, Request
from mien.describe.ray.worker_backend import LostError
from mien.errors import EngineError

__all__ = ["Job"]

# A batch is given up soon, for its halves are tried again. A single item is not, for machines may fail often
# without its doing; a hang is more likely to be its doing, and takes long.
_TOO_MUCH: Final = 2
_TOO_MUCH_ALONE: Final = 6
_HANG: Final = 2  # as much as so many deaths


@dataclass(slots=True, eq=False)
class Job:
    """Requests, and the future of their replies."""

    requests: Sequence[Request]
    done: Future[Sequence[Reply | EngineError]] = field(default_factory=Future)
    losses: int = 0
    blame: int = 0

    def suffer(self, lost: LostError) -> None:
        """Its worker was lost over it."""
        self.losses += 1
        self.blame += _HANG if lost.hung else 1

    @property
    def is_given_up(self) -> bool:
        """Whether it is not to be tried again as it is."""
        return self.blame >= (_TOO_MUCH_ALONE if len(self.requests) == 1 else _TOO_MUCH)

    def took_down(self, lost: LostError) -> EngineError:
        """What is said of one that is given up."""
        return EngineError(
            f"took {self.losses} workers down; the last one {lost}",
            hint="see the logs of the cluster; if the model is slow, raise run.cluster_timeout",
        )
