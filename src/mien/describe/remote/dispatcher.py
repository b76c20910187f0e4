"""Sends many requests at once to several servers, and retries those that may succeed later.

A request that servers failed on `retries` + 1 times is given up: as its own failure if they answered other
requests meanwhile, as the servers' failure if they answered none. Attempts that never reached a server do not
count.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mien.describe.backoff import Backoff
from mien.describe.engine import Reply, Request
from mien.describe.remote.client import ChatClient
from mien.describe.remote.endpoints import Endpoint, Endpoints, NoEndpointError
from mien.describe.remote.protocol import ChatError, ChatProtocol
from mien.errors import EngineDownError, EngineError

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)

# This many failures in a row without a reply are not caused by the items, but by a wrong option, for example.
_MAX_REFUSALS: Final = 16
_FORBIDDEN: Final = "status 403"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What became of one request.

    Attributes:
        reply: the reply, or the error that concerns it.
        is_server_suspect: whether no server answered any request while this one was tried.
        no_endpoint: set if no server was available.
    """

    reply: Reply | EngineError
    is_server_suspect: bool = False
    no_endpoint: NoEndpointError | None = None


class Dispatcher:
    """Distributes requests over servers. Use it in one event loop only.

    Args:
        protocol: turns requests into bodies and responses into replies.
        client: posts the bodies.
        urls: base addresses of the servers.
        concurrency: most requests in flight, over all servers.
        retries: how often a request is sent again after the servers failed on it.
        backoff: pauses between attempts.
    """

    def __init__(
        self,
        protocol: ChatProtocol,
        client: ChatClient,
        urls: Sequence[str],
        *,
        concurrency: int,
        retries: int,
        backoff: Backoff,
    ) -> None:
        self._protocol = protocol
        self._client = client
        self._endpoints = Endpoints(urls, concurrency=concurrency, retries=retries, backoff=backoff)
        self._retries = retries
        self._backoff = backoff
        self._failed_at = 0.0  # when a whole call last failed
        self._num_refused = 0
        self._num_forbidden = 0  # in a row, after the servers had answered other requests

    async def describe(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        """Returns one reply or error per request, in order; raises EngineError if the servers fail."""
        results = await asyncio.gather(*(self._result(request) for request in requests))
        self._require_permission()
        if all(result.is_server_suspect for result in results):
            self._failed_at = time.monotonic()
            down = next((result.no_endpoint for result in results if result.no_endpoint is not None), None)
            if down is not None:
                is_unreachable = down.error.kind == "unreachable"
                raise EngineDownError(str(down), hint=down.error.hint, retryable=is_unreachable)
            raise next(result.reply for result in results if isinstance(result.reply, EngineError))
        self._require_any_reply(results)
        return [result.reply for result in results]

    async def _result(self, request: Request) -> _Result:
        began, last = time.monotonic(), None
        num_tries, max_tries = 0, self._max_tries()
        body = b""
        while True:
            try:
                # In a thread, because it takes milliseconds; and early, so that no server waits for it.
                body = body or await asyncio.to_thread(self._protocol.body, request)
                async with self._endpoints.acquire(avoid=last) as last:
                    self._require_permission()
                    reply = await self._reply(last, body)
                self._num_forbidden = 0
                return _Result(reply=reply)
            except NoEndpointError as down:
                # Other requests of the call may have been answered. The retry of this one then tells.
                error = EngineError(str(down), hint=down.error.hint, retryable=True)
                return _Result(reply=error, is_server_suspect=True, no_endpoint=down)
            except ChatError as error:
                _log.debug("subject %r at %s: %s", request.subject_id, last and last.url, error)
                num_tries += error.kind in ("item", "server", "busy")
                if error.kind == "item" or num_tries >= max_tries:
                    return self._give_up(error, num_tries, began)
                if error.kind == "server":
                    await asyncio.sleep(self._backoff.pause(num_tries))

    async def _reply(self, endpoint: Endpoint, body: bytes) -> Reply:
        status, headers, content = await self._client.send(endpoint.url, body)
        return self._protocol.reply(
            status, content, retry_after=headers.get("retry-after"), has_access=endpoint.has_described
        )

    def _max_tries(self) -> int:
        """How often a request is sent: once after a call that failed as a whole, until any reply comes."""
        return 1 if self._failed_at > self._endpoints.answered_at else self._retries + 1

    def _give_up(self, error: ChatError, num_tries: int, began: float) -> _Result:
        if error.kind == "item":
            self._num_forbidden += str(error).startswith(_FORBIDDEN)
            return _Result(reply=EngineError(str(error), hint=error.hint))
        is_server_suspect = self._endpoints.answered_at < began
        reply = EngineError(
            f"{error} (tried {num_tries} times)" if num_tries > 1 else str(error),
            hint=error.hint,
            retryable=is_server_suspect,  # otherwise it had all its attempts
        )
        return _Result(reply=reply, is_server_suspect=is_server_suspect)

    def _require_permission(self) -> None:
        """One image may be forbidden; many in a row mean that a quota or permission is gone.

        Also checked before each request, so that no more images go to servers that refuse them.
        """
        if self._num_forbidden >= _MAX_REFUSALS:
            raise EngineDownError(
                f"the servers forbade {self._num_forbidden} requests in a row ({_FORBIDDEN})",
                hint="check the quota and permissions of the key; finished descriptions are kept",
            )

    def _require_any_reply(self, results: Sequence[_Result]) -> None:
        if any(endpoint.has_described for endpoint in self._endpoints.all):
            return
        refused = [result.reply for result in results if isinstance(result.reply, EngineError)]
        self._num_refused += len(refused)
        if self._num_refused >= _MAX_REFUSALS:
            raise EngineDownError(
                f"the servers refused each of the first {self._num_refused} requests: {refused[-1]}",
                hint=refused[-1].hint,
            )
