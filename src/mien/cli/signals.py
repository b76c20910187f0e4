"""Graceful shutdown: a long command finishes what it has begun, writes it, and exits.

The first SIGINT or SIGTERM requests the end. Work in flight gets a short grace period; when it is over, or at
a second signal, that work is abandoned. Committed work is kept in either case, and locks end with the
process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["GRACE_SECONDS", "Shutdown", "graceful_shutdown"]

# Docker kills 10 s after SIGTERM, Slurm 30 s.
GRACE_SECONDS: Final = 8.0
_LAST_SECONDS: Final = 1.5  # for cleanup after the grace period; a thread may hang forever
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Whether a signal has requested the end; install it with `graceful_shutdown`."""

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """True once the work should end."""
        return self.signal is not None

    @property
    def exit_code(self) -> int | None:
        """128 + the signal's number, as shells do; None if there was no signal."""
        return None if self.signal is None else 128 + self.signal

    def handle_signal(self, number: int, frame: Any) -> None:
        """Requests the end at the first signal, exits at the second."""
        if self.signal is not None:
            self._exit()
        self.signal = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, self._grace)
        text = f"finishing work in progress (at most {self._grace:g} s); send a second signal to exit now"
        # Not print: the signal may have interrupted print itself, which cannot be entered twice.
        with suppress(OSError):
            os.write(2, f"\n{self.signal.name}: {text}\n".encode())

    def handle_alarm(self, number: int, frame: Any) -> None:
        """Exits at the end of the grace period."""
        self._exit()

    def _exit(self) -> None:
        code = self.exit_code or 1
        last_resort = threading.Timer(_LAST_SECONDS, os._exit, (code,))
        last_resort.daemon = True
        last_resort.start()
        raise SystemExit(code)


@contextmanager
def graceful_shutdown(grace: float = GRACE_SECONDS) -> Iterator[Shutdown]:
    """Handles signals with a `Shutdown` until the block ends; only in the main thread, as Python requires."""
    shutdown = Shutdown(grace)
    before = {number: signal.signal(number, shutdown.handle_signal) for number in _SIGNALS}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, shutdown.handle_alarm)
    try:
        yield shutdown
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
