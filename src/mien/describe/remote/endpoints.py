"""Which of several servers is asked next, and which are left alone for a while.

Goes in: addresses, and how each exchange ended. Comes out: the one to ask now, or `AllDownError`.
Knows nothing about: what is exchanged, or how. It belongs to one event loop.

The server with the fewest requests in flight is next. One that cannot be reached is left alone for a
pause that grows, then tried with a single request; one that is busy gets half as many at once, and
more again with each answer. Failures of requests that were in flight together count once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from mien.describe.backoff import Backoff
from mien.describe.remote.protocol import ExchangeError

__all__ = ["AllDownError", "Endpoint", "Endpoints"]

_log = logging.getLogger(__name__)


class AllDownError(Exception):
    """No server is left to ask; `trouble` is that of one of them."""

    def __init__(self, url: str, trouble: ExchangeError) -> None:
        super().__init__(f"{url}: {trouble}")
        self.trouble = trouble


class Endpoint:
    """One server, and what is known of it."""

    def __init__(self, url: str, room: int) -> None:
        self.url = url
        self.in_flight = 0
        self.num_asked = 0
        self.has_described = False  # and not just refused
        self.room = float(room)  # requests that it is given at once
        self.num_failures = 0  # in a row
        self.failed_at = 0.0
        self.paused_until = 0.0
        self.trouble: ExchangeError | None = None  # for which it counts as down

    def is_ready(self, now: float) -> bool:
        """Whether it may be given one more request."""
        return now >= self.paused_until and self.in_flight < int(self.room)


class Endpoints:
    """All servers of one engine; at most `concurrency` requests are in flight over all of them.

    A server is down when it could not be reached `patience` + 1 times in a row, or lets nobody in.
    """

    def __init__(self, urls: Sequence[str], *, concurrency: int, patience: int, backoff: Backoff) -> None:
        self.all = [Endpoint(url, concurrency) for url in urls]
        self._concurrency = concurrency
        self._patience = patience
        self._backoff = backoff
        self._changed = asyncio.Condition()
        self.answered_at = 0.0  # when any of them last did

    @asynccontextmanager
    async def place(self, avoid: Endpoint | None = None) -> AsyncIterator[Endpoint]:
        """The server to ask now, held while it is asked; an ExchangeError passes through and is noted.

        `avoid` is taken only if no other is ready. Raises AllDownError.
        """
        endpoint = await self._free(avoid)
        began = time.monotonic()
        try:
            yield endpoint
        except ExchangeError as trouble:
            self._note(endpoint, trouble, began)
            raise
        else:
            endpoint.has_described = True
            self._answered(endpoint, began)
        finally:
            endpoint.in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    # --- Who is next ---

    async def _free(self, avoid: Endpoint | None) -> Endpoint:
        async with self._changed:
            # One look at the clock for both: a pause that ends between two would be waited for for ever.
            while (chosen := self._next(avoid, now := time.monotonic())) is None:
                self._require_one()
                await self._change(now)
            # Within the lock, so that nobody else takes the same place.
            chosen.in_flight += 1
            chosen.num_asked += 1
            return chosen

    def _require_one(self) -> None:
        troubles = [(one.url, one.trouble) for one in self.all if one.trouble is not None]
        if len(troubles) == len(self.all):
            # One that passes, if there is one (away before shut): trying again later may help.
            url, trouble = min(troubles, key=lambda pair: pair[1].kind)
            raise AllDownError(url, trouble)

    def _next(self, avoid: Endpoint | None, now: float) -> Endpoint | None:
        if sum(endpoint.in_flight for endpoint in self.all) >= self._concurrency:
            return None
        ready = [endpoint for endpoint in self.all if endpoint.is_ready(now)]
        return min(ready, key=lambda one: (one is avoid, one.in_flight, one.num_asked), default=None)

    async def _change(self, now: float) -> None:
        """Until a place is free or a pause is over, whichever comes first."""
        pauses = [one.paused_until - now for one in self.all if one.paused_until > now]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(pauses, default=None)):
                await self._changed.wait()

    # --- What is known of them ---

    def _answered(self, endpoint: Endpoint, began: float) -> None:
        self.answered_at = time.monotonic()
        if began < endpoint.failed_at:
            return  # from before the failure: it tells nothing of now
        if endpoint.trouble is not None:
            _log.info("endpoint %s is back", endpoint.url)
        endpoint.num_failures = 0
        endpoint.trouble = None
        # Slow at first after a failure, then a tenth for each answer.
        endpoint.room = min(self._concurrency, endpoint.room + max(1 / endpoint.room, 0.1))

    def _note(self, endpoint: Endpoint, trouble: ExchangeError, began: float) -> None:
        if trouble.kind == "item":
            self._answered(endpoint, began)
            return
        now = time.monotonic()
        asked = self._backoff.retry_after(trouble.retry_after)
        if asked is not None:
            endpoint.paused_until = max(endpoint.paused_until, now + asked)
        if began < endpoint.failed_at:
            return  # the same failure, seen by another request
        endpoint.failed_at = now
        endpoint.num_failures += 1
        if asked is None:
            endpoint.paused_until = now + self._pause(endpoint, trouble)
        self._restrict(endpoint, trouble)

    def _pause(self, endpoint: Endpoint, trouble: ExchangeError) -> float:
        if trouble.kind == "shut":
            return self._backoff.cap
        if trouble.kind == "server":
            # The first failure may be the item's doing, and stops nobody else.
            failures = endpoint.num_failures - 1
            return self._backoff.pause(failures) if failures else 0.0
        return self._backoff.pause(endpoint.num_failures)

    def _restrict(self, endpoint: Endpoint, trouble: ExchangeError) -> None:
        if trouble.kind == "busy":
            endpoint.room = max(1.0, endpoint.room / 2)
        elif trouble.kind in ("away", "shut"):
            endpoint.room = 1.0
        is_down = trouble.kind == "shut" or (
            trouble.kind == "away" and endpoint.num_failures > self._patience
        )
        if is_down and endpoint.trouble is None:
            _log.warning("endpoint %s is down: %s", endpoint.url, trouble)
        endpoint.trouble = trouble if is_down else None
