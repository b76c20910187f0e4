"""Sends many requests at once to several servers, and retries those that may succeed later.

A request that servers failed on `retries` + 1 times is given up: as its own failure if they answered other
requests meanwhile, as the servers' failure if they answered none. Attempts that never reached a server do not
count. Servers that describe no one end the whole call (see `trouble`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mien.describe.engine import AbandonedError, Reply, Request
from mien.describe.remote.client import ChatClient
from mien.describe.remote.endpoints import Endpoint, Endpoints, NoEndpointError
from mien.describe.remote.errors import ChatError
from mien.describe.remote.protocol import ChatProtocol
from mien.describe.remote.trouble import Trouble
from mien.describe.retry import Backoff
from mien.errors import EngineDownError, EngineError

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)

_MAX_SLOW_TRIES: Final = 3  # of a request that is not completed in time, because each takes long
_SECONDS_UNTIL_NOTICE: Final = 10.0  # without any reply


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


@dataclass(slots=True)
class _Call:
    """One call of `describe`: its requests, those that a server has now, and the error that ends it."""

    tasks: list[asyncio.Task[_Result]] = field(default_factory=list)
    error: EngineDownError | None = None


class Dispatcher:
    """Distributes requests over servers. Use it in one event loop only.

    Args:
        protocol: turns requests into bodies and responses into replies.
        client: posts the bodies.
        urls: base addresses of the servers.
        concurrency: most requests in flight, over all servers.
        retries: how often a request is sent again after the servers failed on it.
        backoff: pauses between attempts.
        timeout: seconds after which the client gives a response up, for messages.
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
        timeout: float,
    ) -> None:
        self._protocol = protocol
        self._client = client
        self._endpoints = Endpoints(urls, concurrency=concurrency, retries=retries, backoff=backoff)
        self._retries = retries
        self._backoff = backoff
        self._timeout = timeout
        self._trouble = Trouble()
        self._failed_at = 0.0  # when a whole call last failed
        self._calls: list[_Call] = []
        self._in_flight: set[asyncio.Task[_Result]] = set()
        self._is_stopped = False

    async def describe(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        """Returns one reply or error per request, in order; raises EngineError if the servers fail."""
        if self._is_stopped:
            return [_stopped() for _ in requests]
        call = _Call()
        call.tasks += [asyncio.create_task(self._result(request)) for request in requests]
        self._calls.append(call)
        try:
            found = await asyncio.gather(*call.tasks, return_exceptions=True)
        finally:
            self._calls.remove(call)
        results = [_require_result(result, call.error) for result in found]
        if call.error is not None and not any(isinstance(result.reply, Reply) for result in results):
            raise call.error
        if results and all(result.is_server_suspect for result in results):
            self._failed_at = time.monotonic()
            down = next((result.no_endpoint for result in results if result.no_endpoint is not None), None)
            if down is not None:
                is_unreachable = down.error.kind == "unreachable"
                raise EngineDownError(str(down), hint=down.error.hint, retryable=is_unreachable)
            raise next(result.reply for result in results if isinstance(result.reply, EngineError))
        return [result.reply for result in results]

    def stop(self) -> None:
        """Abandons the requests that wait, and all of them if no server has described yet."""
        self._is_stopped = True
        kept = self._in_flight if self._trouble.has_worked else set()
        for call in self._calls:
            for task in call.tasks:
                if task not in kept:
                    task.cancel()

    async def _result(self, request: Request) -> _Result:
        began, last = time.monotonic(), None
        num_tries, max_tries = 0, self._max_tries()
        body = b""
        while True:
            sent = time.monotonic()
            try:
                # In a thread, because it takes milliseconds; and early, so that no server waits for it.
                body = body or await asyncio.to_thread(self._protocol.body, request)
                async with self._endpoints.acquire(avoid=last) as last:
                    sent = time.monotonic()
                    reply = await self._reply(last, body)
                self._trouble.record_description()
                return _Result(reply=reply)
            except NoEndpointError as down:
                # Other requests of the call may have been answered. The retry of this one then tells.
                error = EngineError(str(down), hint=down.error.hint, retryable=True)
                return _Result(reply=error, is_server_suspect=True, no_endpoint=down)
            except ChatError as error:
                _log.debug("subject %r at %s: %s", request.subject_id, last and last.url, error)
                if last is not None:
                    self._record(last, request, error, sent)
                num_tries += error.kind in ("item", "server", "slow", "busy")
                if error.kind == "slow":
                    max_tries = min(max_tries, _MAX_SLOW_TRIES)
                if error.kind == "item" or num_tries >= max_tries:
                    return self._give_up(error, num_tries, began)
                if self._is_stopped:
                    return _Result(reply=_stopped())
                if error.kind in ("server", "slow"):
                    await asyncio.sleep(self._backoff.pause(num_tries))

    async def _reply(self, endpoint: Endpoint, body: bytes) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        notice = asyncio.get_running_loop().call_later(_SECONDS_UNTIL_NOTICE, self._say_waiting, endpoint.url)
        self._in_flight.add(task)
        try:
            status, headers, content = await self._client.send(endpoint.url, body)
        finally:
            notice.cancel()
            self._in_flight.discard(task)
        return self._protocol.reply(status, content, headers, has_access=endpoint.has_described)

    def _say_waiting(self, url: str) -> None:
        if not self._trouble.has_worked and self._timeout > 2 * _SECONDS_UNTIL_NOTICE:
            self._trouble.say_waiting(url, _SECONDS_UNTIL_NOTICE, self._timeout)

    def _record(self, endpoint: Endpoint, request: Request, error: ChatError, sent: float) -> None:
        """Counts a failure, and ends all calls if there were too many."""
        if endpoint.down_error is not None:  # it gets no more requests, and that is said
            error = endpoint.down_error
        pause = max(0.0, endpoint.paused_until - time.monotonic())
        self._trouble.record(endpoint.url, request.subject_id, error, began=sent, pause=pause)
        final = self._trouble.final_error(endpoint.url, error)
        if final is not None:
            self._trouble.reset()
            for call in self._calls:
                call.error = final
                for task in call.tasks:
                    task.cancel()

    def _max_tries(self) -> int:
        """How often a request is sent: once after a call that failed as a whole, until any reply comes."""
        return 1 if self._failed_at > self._endpoints.answered_at else self._retries + 1

    def _give_up(self, error: ChatError, num_tries: int, began: float) -> _Result:
        if error.kind == "item":
            return _Result(reply=EngineError(str(error), hint=error.hint))
        is_server_suspect = self._endpoints.answered_at < began
        reply = EngineError(
            f"{error} (tried {num_tries} times)" if num_tries > 1 else str(error),
            hint=error.hint,
            # Otherwise it had all its attempts; and one that takes too long would do so again.
            retryable=is_server_suspect and error.kind != "slow",
        )
        return _Result(reply=reply, is_server_suspect=is_server_suspect)


def _require_result(result: _Result | BaseException, error: EngineDownError | None) -> _Result:
    """The result of a request; an AbandonedError in its place if it was given up."""
    if isinstance(result, _Result):
        return result
    if isinstance(result, Exception):
        raise result
    return _Result(reply=_stopped() if error is None else AbandonedError(str(error), cause=error))


def _stopped() -> AbandonedError:
    return AbandonedError("the request was given up, because the run stops")
