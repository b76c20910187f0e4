"""How a command ends at SIGINT, SIGTERM or SIGHUP: within about a second, silently, with 128 + the signal.

The first signal interrupts the main thread, as Ctrl-C does in Python. A long call into a library cannot be
interrupted, and threads may hang, so a watching thread ends the process soon after. A second signal ends it
at once. Everything that mien writes survives that: it is as safe as against `kill -9`.

Describing takes longer to end: in `graceful_shutdown`, the first signal only requests the end. Work in flight
gets a short grace period; when it is over, or at a second signal, that work is abandoned.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["GRACE_SECONDS", "End", "Shutdown", "graceful_shutdown"]

# Docker kills 10 s after SIGTERM, Slurm 30 s.
GRACE_SECONDS: Final = 8.0
_LAST_SECONDS: Final = 1.0  # for cleanup after a signal, or after the grace period
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_WATCHING: Final = 0  # no signal has this number


class End:
    """How a command ends.

    Args:
        exits: Whether the process ends with the command, so that what hangs must be ended.
    """

    def __init__(self, *, exits: bool) -> None:
        self._exits = exits
        self._signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells do."""
        return 128 + (self._signal or signal.SIGINT)

    @contextmanager
    def at_signals(self) -> Iterator[None]:
        """Handles signals until the block ends. Ignored signals stay ignored, as under `nohup`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="signals", daemon=True)
        watcher.start()
        before = _handle(self._handle_signal)
        try:
            yield
        finally:
            # Python itself would show a traceback for a signal while the process exits.
            _restore(dict.fromkeys(before, signal.SIG_DFL) if self._exits else before)
            signal.set_wakeup_fd(before_writer)
            if not self._exits:
                os.write(writer, bytes([_STOP_WATCHING]))
                watcher.join()
                os.close(reader)
                os.close(writer)

    def _handle_signal(self, number: int, frame: Any) -> None:
        """Interrupts the main thread at the first signal, exits at the second."""
        if self._signal is not None and self._exits:
            os._exit(self.exit_code)
        self._signal = number
        raise KeyboardInterrupt

    def _watch(self, descriptor: int) -> None:
        """Ends the process soon after a signal, whose number Python writes here even from a long call."""
        while number := os.read(descriptor, 1)[0]:
            if number in _SIGNALS and self._exits and not _graceful.is_set():
                _exit_soon(128 + number)


def _handle(handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Sets a handler; returns the earlier ones."""
    return {
        number: signal.signal(number, handler)
        for number in _SIGNALS
        if signal.getsignal(number) not in {signal.SIG_IGN, None}  # None: not from Python
    }


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _exit_soon(code: int) -> None:
    last_resort = threading.Timer(_LAST_SECONDS, os._exit, (code,))
    last_resort.daemon = True
    last_resort.start()


# --- Graceful ends -------------------------------------------------------------------------------------

_graceful: Final = threading.Event()  # whether a `Shutdown` handles the signals


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
        _exit_soon(code)
        raise SystemExit(code)


@contextmanager
def graceful_shutdown(grace: float = GRACE_SECONDS) -> Iterator[Shutdown]:
    """Handles signals with a `Shutdown` until the block ends; only in the main thread, as Python requires."""
    shutdown = Shutdown(grace)
    before = _handle(shutdown.handle_signal)
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, shutdown.handle_alarm)
    _graceful.set()
    try:
        yield shutdown
    finally:
        _graceful.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(before)
