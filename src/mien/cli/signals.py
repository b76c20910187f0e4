"""What a long command does with a signal: it ends what it has begun, writes it, and then goes.

Goes in: SIGINT and SIGTERM, as a terminal or a job scheduler sends them. Comes out: a question to ask between
two pieces of work, and an exit code.
Knows nothing about: what the work is.

The first signal asks for an end. What is in flight has a short grace; after that, or at a second signal, it
is given up. Whatever was committed is kept in either case, and locks end with the process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["GRACE_SECONDS", "Drain", "draining"]

# Docker kills 10 s after it asks, Slurm 30 s.
GRACE_SECONDS: Final = 8.0
_LAST_SECONDS: Final = 1.5  # for cleaning up after giving up; a thread may hang in a call that never ends
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Drain:
    """Whether a signal has come; install it with `draining`."""

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """True once the work is to end."""
        return self.signal is not None

    @property
    def exit_code(self) -> int | None:
        """What the shells' convention says of the signal that came; None if none has."""
        return None if self.signal is None else 128 + self.signal

    def receive(self, number: int, frame: Any) -> None:
        """A signal handler."""
        if self.signal is not None:
            self._give_up()
        self.signal = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, self._grace)
        said = f"finishing what was begun, for at most {self._grace:g} s; a second signal ends at once"
        # Not by print: it may have been interrupted in the middle, and cannot be entered twice.
        with suppress(OSError):
            os.write(2, f"\n{self.signal.name}: {said}\n".encode())

    def run_out(self, number: int, frame: Any) -> None:
        """The handler of the alarm that ends the grace."""
        self._give_up()

    def _give_up(self) -> None:
        code = self.exit_code or 1
        last = threading.Timer(_LAST_SECONDS, os._exit, (code,))
        last.daemon = True
        last.start()
        raise SystemExit(code)


@contextmanager
def draining(grace: float = GRACE_SECONDS) -> Iterator[Drain]:
    """A `Drain` that gets the signals until this ends; for the main thread, as all signal handlers."""
    drain = Drain(grace)
    before = {number: signal.signal(number, drain.receive) for number in _SIGNALS}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, drain.run_out)
    try:
        yield drain
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
