"""An event loop in a separate thread, for engines that are called from any thread but work asynchronously."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["BackgroundLoop"]

_Result = TypeVar("_Result")


class BackgroundLoop:
    """Runs coroutines for callers of any thread until it is closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Returns or raises what the coroutine does; cancels it if the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], None]) -> None:
        """Calls a function in the loop's thread, soon."""
        self._loop.call_soon_threadsafe(function)

    def close(self, cleanup: Callable[[], Coroutine[Any, Any, None]], *, timeout: float = 1.0) -> None:
        """Runs `cleanup()` and ends the thread. The garbage collector may call this, in any thread.

        Args:
            cleanup: the last coroutine to run.
            timeout: most seconds to wait for it.
        """
        done = asyncio.run_coroutine_threadsafe(cleanup(), self._loop)
        done.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
