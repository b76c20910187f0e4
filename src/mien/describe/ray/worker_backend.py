"""The contract of a place where workers run: what a `WorkerPool` needs from it.

A backend must not know which batch goes to which worker: the pool decides that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mien.describe.engine import Reply, Request
from mien.errors import EngineError

__all__ = ["WorkerBackend", "WorkerLostError"]


class WorkerLostError(Exception):
    """A worker died, or hung: it did not answer within its timeout."""

    def __init__(self, reason: str, *, hung: bool = False) -> None:
        super().__init__(reason)
        self.hung = hung


class WorkerBackend(ABC):
    """A place where workers run. All methods but `open` and `close` may be called from several threads."""

    @abstractmethod
    def open(self) -> None:
        """Prepares what workers need; ClusterError if that fails."""

    @abstractmethod
    def capacity(self) -> int:
        """How many workers fit now, including those that run."""

    @abstractmethod
    def start(self) -> Any:
        """Begins to start a worker and returns a handle to it at once."""

    @abstractmethod
    def handshake(self, worker: Any, timeout: float) -> None:
        """Returns once the worker is ready.

        Raises:
            WorkerLostError: the worker died or did not answer within `timeout` seconds.
            MienError: the worker reports that it cannot work.
        """

    @abstractmethod
    def describe(
        self, worker: Any, requests: Sequence[Request], timeout: float
    ) -> Sequence[Reply | EngineError]:
        """Same as `Engine.describe`, on that worker; WorkerLostError if the worker is lost meanwhile."""

    @abstractmethod
    def stop(self, worker: Any) -> None:
        """Ends a worker immediately, even a busy one; does nothing if it is dead."""

    @abstractmethod
    def close(self) -> None:
        """Releases what `open` made."""
