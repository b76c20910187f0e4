"""Chooses the server for the next request, and pauses servers that fail.

The server with the fewest requests in flight is next. An unreachable server pauses for a time that grows, and
is then tried with a single request. A busy server gets half as many requests at once, and more again with
each answer. Failures of requests that were in flight together count once. All of it belongs to one event
loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from mien.describe.remote.errors import ChatError
from mien.describe.retry import Backoff

__all__ = ["Endpoint", "Endpoints", "NoEndpointError"]

_log = logging.getLogger(__name__)
# Until any server has described, this many requests at once show whether one can.
_MAX_TRIAL: Final = 8


class NoEndpointError(Exception):
    """Every server is down; `error` is why one of them is."""

    def __init__(self, url: str, error: ChatError) -> None:
        super().__init__(f"{url}: {error}")
        self.error = error


class Endpoint:
    """The state of one server."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url = url
        self.in_flight = 0
        self.num_sent = 0
        self.has_described = False  # returned a description, not just errors
        self.max_in_flight = float(concurrency)
        self.num_failures = 0  # in a row
        self.failed_at = 0.0
        self.paused_until = 0.0
        self.down_error: ChatError | None = None  # why it is down, if it is

    def is_ready(self, now: float) -> bool:
        """Whether it may get one more request."""
        return now >= self.paused_until and self.in_flight < int(self.max_in_flight)


class Endpoints:
    """All servers of one engine.

    A server is down if it was unreachable `retries` + 1 times in a row, or rejects all requests.

    Args:
        urls: base addresses.
        concurrency: most requests in flight, over all servers.
        retries: how many failures to connect in a row are tolerated.
        backoff: pauses of a failing server.
    """

    def __init__(self, urls: Sequence[str], *, concurrency: int, retries: int, backoff: Backoff) -> None:
        self.all = [Endpoint(url, concurrency) for url in urls]
        self.answered_at = 0.0  # when any server last answered
        self.have_described = False  # any of them
        self._concurrency = concurrency
        self._retries = retries
        self._backoff = backoff
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def acquire(self, avoid: Endpoint | None = None) -> AsyncIterator[Endpoint]:
        """Yields the server for the next request; a ChatError raised inside is recorded and passes through.

        Args:
            avoid: a server to use only if no other is ready.

        Raises:
            NoEndpointError: every server is down.
        """
        endpoint = await self._wait_for_endpoint(avoid)
        began = time.monotonic()
        try:
            yield endpoint
        except ChatError as error:
            self._record_failure(endpoint, error, began)
            raise
        else:
            endpoint.has_described = self.have_described = True
            self._record_answer(endpoint, began)
        finally:
            endpoint.in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    # --- Choosing ---

    async def _wait_for_endpoint(self, avoid: Endpoint | None) -> Endpoint:
        async with self._changed:
            # One reading of the clock for both steps: a pause that ended between two would be missed forever.
            while (endpoint := self._next(avoid, now := time.monotonic())) is None:
                self._require_endpoint()
                await self._wait_for_change(now)
            # Within the lock, so that no other request takes the same place.
            endpoint.in_flight += 1
            endpoint.num_sent += 1
            return endpoint

    def _require_endpoint(self) -> None:
        errors = [(one.url, one.down_error) for one in self.all if one.down_error is not None]
        if len(errors) == len(self.all):
            # Reports an unreachable server before one that rejects: for it, a later retry may help.
            url, error = min(errors, key=lambda pair: pair[1].kind == "rejected")
            raise NoEndpointError(url, error)

    def _next(self, avoid: Endpoint | None, now: float) -> Endpoint | None:
        limit = self._concurrency if self.have_described else min(self._concurrency, _MAX_TRIAL)
        if sum(endpoint.in_flight for endpoint in self.all) >= limit:
            return None
        ready = [endpoint for endpoint in self.all if endpoint.is_ready(now)]
        return min(ready, key=lambda one: (one is avoid, one.in_flight, one.num_sent), default=None)

    async def _wait_for_change(self, now: float) -> None:
        """Waits until a request ends or a pause is over."""
        pauses = [one.paused_until - now for one in self.all if one.paused_until > now]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(pauses, default=None)):
                await self._changed.wait()

    # --- Recording ---

    def _record_answer(self, endpoint: Endpoint, began: float) -> None:
        self.answered_at = time.monotonic()
        if began < endpoint.failed_at:
            return  # sent before the failure, so it says nothing about now
        if endpoint.down_error is not None:
            _log.info("endpoint %s is back", endpoint.url)
        endpoint.num_failures = 0
        endpoint.down_error = None
        # By one request per round of answers, but at least a tenth of a request per answer.
        growth = max(1 / endpoint.max_in_flight, 0.1)
        endpoint.max_in_flight = min(self._concurrency, endpoint.max_in_flight + growth)

    def _record_failure(self, endpoint: Endpoint, error: ChatError, began: float) -> None:
        if error.kind == "item":
            self._record_answer(endpoint, began)
            return
        now = time.monotonic()
        asked = self._backoff.asks_too_much(error.retry_after)
        if asked is not None and error.kind != "rejected":
            error = ChatError(
                "rejected",
                f"{error} (it asks to wait {_duration(asked)}, too long to wait for)",
                hint="run again later; descriptions so far are kept",
            )
        retry_after = self._backoff.retry_after(error.retry_after)
        if retry_after is not None:
            endpoint.paused_until = max(endpoint.paused_until, now + retry_after)
        if began < endpoint.failed_at:
            return  # the same failure, seen by another request
        endpoint.failed_at = now
        endpoint.num_failures += 1
        if not retry_after:  # also if it asks for 0 seconds, which would make a flood
            endpoint.paused_until = now + self._pause(endpoint, error)
        self._restrict(endpoint, error)

    def _pause(self, endpoint: Endpoint, error: ChatError) -> float:
        if error.kind == "rejected":
            return self._backoff.cap
        if error.kind in ("server", "slow"):
            # The item may have caused the first failure, so it does not stop other requests.
            num_failures = endpoint.num_failures - 1
            return self._backoff.pause(num_failures) if num_failures else 0.0
        return self._backoff.pause(endpoint.num_failures)

    def _restrict(self, endpoint: Endpoint, error: ChatError) -> None:
        if error.kind == "busy":
            endpoint.max_in_flight = max(1.0, endpoint.max_in_flight / 2)
        elif error.kind in ("unreachable", "rejected"):
            endpoint.max_in_flight = 1.0
        is_down = error.kind == "rejected" or (
            error.kind == "unreachable" and endpoint.num_failures > self._retries
        )
        if is_down and endpoint.down_error is None:
            _log.warning("endpoint %s is down: %s", endpoint.url, error)
        endpoint.down_error = error if is_down else None


def _duration(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.0f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
