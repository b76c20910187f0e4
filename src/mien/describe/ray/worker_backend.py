"""Where workers live: what a crew asks of it.

Goes in: requests for one worker. Comes out: its replies, or that it is lost.
Knows nothing about: which batch goes to which worker (see `crew`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mien.describe.engine import Reply, Request
from mien.errors import EngineError

__all__ = ["Host", "LostError"]


class LostError(Exception):
    """A worker died, or hung: then it waited for so long as it was told to."""

    def __init__(self, reason: str, *, hung: bool = False) -> None:
        super().__init__(reason)
        self.hung = hung


class Host(ABC):
    """Where workers live. All but `open` and `close` may be called from several threads."""

    @abstractmethod
    def open(self) -> None:
        """Makes ready what workers need; ClusterError if that fails."""

    @abstractmethod
    def room(self) -> int:
        """How many workers there is room for now."""

    @abstractmethod
    def start(self) -> Any:
        """Begins to start a worker, and returns at once."""

    @abstractmethod
    def greet(self, worker: Any, timeout: float) -> None:
        """Returns once a worker can work. LostError if it is lost, a MienError if it says that it cannot."""

    @abstractmethod
    def ask(self, worker: Any, requests: Sequence[Request], timeout: float) -> Sequence[Reply | EngineError]:
        """As `Engine.describe`, by that worker; LostError if the worker is lost over it."""

    @abstractmethod
    def dismiss(self, worker: Any) -> None:
        """Ends a worker, whatever it does; nothing if it is dead."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what `open` made."""
