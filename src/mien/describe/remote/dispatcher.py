"""Sends requests to servers, many at once, and asks again where that may help.

Goes in: requests, an exchange, addresses. Comes out: replies in order, or the servers' own failure.
Knows nothing about: recipes, threads, what an answer looks like.

A request that servers failed on `retries` + 1 times is given up: as its own failure if they answered others
meanwhile, as the servers' failure if they answered nobody. What never reached a server does not count.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mien.describe.backoff import Backoff
from mien.describe.engine import Reply, Request
from mien.describe.remote.endpoints import AllDownError, Endpoint, Endpoints
from mien.describe.remote.protocol import Exchange, ExchangeError
from mien.errors import EngineDownError, EngineError

__all__ = ["Dispatcher", "Sender"]

_log = logging.getLogger(__name__)

# So many refusals before the first answer, and it is no longer the items' doing: a wrong option, it may be.
_REFUSED_ALL: Final = 16
_FORBIDDEN: Final = "status 403"
_MAX_BYTES: Final = 16 * 2**20  # of an answer; a description has a few thousand
_MAX_CONNECT: Final = 10.0  # seconds; a server that takes longer to say hello is not there
# Servers close a silent connection after 5 s or later (uvicorn: 5), and a request must not meet that.
_KEEPALIVE: Final = 4.0


class Sender:
    """One post at a time to an address, as often as you like; whatever goes wrong is an ExchangeError."""

    def __init__(self, *, timeout: float, key: str | None) -> None:
        self._timeout = timeout
        self._key = key

    async def send(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content of the answer, which is whole and came in time."""
        library = _http()
        try:
            async with asyncio.timeout(self._timeout):  # over all, however slowly it drips
                return await self._post(f"{url}/chat/completions", body)
        except (library.ConnectError, library.ConnectTimeout, library.ProxyError) as error:
            raise ExchangeError(
                "away", f"cannot be reached: {_named(error)}", hint="see whether the server runs"
            ) from error
        except TimeoutError as error:
            raise ExchangeError(
                "server",
                f"no whole answer within {self._timeout:g} s",
                hint="set run.timeout higher, or run.concurrency lower",
            ) from error
        except library.InvalidURL as error:
            raise ExchangeError("shut", f"is no address: {error}", hint="mend run.endpoints") from error
        except library.HTTPError as error:
            raise ExchangeError("server", f"the connection broke: {_named(error)}") from error

    async def _post(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._client.stream("POST", url, content=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise ExchangeError("server", f"the answer is larger than {_MAX_BYTES} bytes")
            return response.status_code, response.headers, bytes(content)

    @cached_property
    def _client(self) -> Any:
        library = _http()
        headers = {"Content-Type": "application/json", "User-Agent": "mien"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return library.AsyncClient(
            headers=headers,
            timeout=library.Timeout(None, connect=min(self._timeout, _MAX_CONNECT)),
            # How many are in flight is decided elsewhere.
            limits=library.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE),
            follow_redirects=False,  # pictures of people go where the recipe says, and nowhere else
        )

    async def close(self) -> None:
        """Ends all connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What came of one request; `doubtful`: no server answered anybody while it was tried.

    `down`: why no server was there to ask.
    """

    reply: Reply | EngineError
    doubtful: bool = False
    down: AllDownError | None = None


class Dispatcher:
    """Belongs to the event loop in which it is used."""

    def __init__(
        self,
        exchange: Exchange,
        sender: Sender,
        urls: Sequence[str],
        *,
        concurrency: int,
        retries: int,
        backoff: Backoff,
    ) -> None:
        self._exchange = exchange
        self._sender = sender
        self._endpoints = Endpoints(urls, concurrency=concurrency, patience=retries, backoff=backoff)
        self._retries = retries
        self._backoff = backoff
        self._failed_at = 0.0  # when a whole call last failed
        self._num_refused = 0
        self._num_forbidden = 0  # in a row, after the servers had answered somebody

    async def describe(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        """One reply or error for each, in order; raises EngineError if it is the servers' own."""
        results = await asyncio.gather(*(self._result(request) for request in requests))
        self._require_some_right()
        if all(result.doubtful for result in results):
            self._failed_at = time.monotonic()
            down = next((result.down for result in results if result.down is not None), None)
            if down is not None:
                trouble = down.trouble
                raise EngineDownError(str(down), hint=trouble.hint, retryable=trouble.kind == "away")
            raise next(result.reply for result in results if isinstance(result.reply, EngineError))
        self._require_some_answer(results)
        return [result.reply for result in results]

    async def _result(self, request: Request) -> _Result:
        began, last = time.monotonic(), None
        num_tried, allowed = 0, self._allowed()
        body = b""
        while True:
            try:
                # In a thread, for it takes milliseconds; and before there is a place, ahead of the servers.
                body = body or await asyncio.to_thread(self._exchange.body, request)
                async with self._endpoints.place(avoid=last) as last:
                    self._require_some_right()
                    reply = await self._reply(last, body)
                self._num_forbidden = 0
                return _Result(reply=reply)
            except AllDownError as error:
                # Others of the call may have been answered: this one is asked again, and then it shows.
                unasked = EngineError(str(error), hint=error.trouble.hint, retryable=True)
                return _Result(reply=unasked, doubtful=True, down=error)
            except ExchangeError as trouble:
                _log.debug("subject %r at %s: %s", request.subject_id, last and last.url, trouble)
                num_tried += trouble.kind in ("item", "server", "busy")
                if trouble.kind == "item" or num_tried >= allowed:
                    return self._given_up(trouble, num_tried, began)
                if trouble.kind == "server":
                    await asyncio.sleep(self._backoff.pause(num_tried))

    async def _reply(self, endpoint: Endpoint, body: bytes) -> Reply:
        status, headers, content = await self._sender.send(endpoint.url, body)
        return self._exchange.reply(
            status, content, retry_after=headers.get("retry-after"), admitted=endpoint.has_described
        )

    def _allowed(self) -> int:
        """How often an item is sent; once after a call that failed as a whole, until somebody is answered."""
        return 1 if self._failed_at > self._endpoints.answered_at else self._retries + 1

    def _given_up(self, trouble: ExchangeError, num_tried: int, began: float) -> _Result:
        if trouble.kind == "item":
            self._num_forbidden += str(trouble).startswith(_FORBIDDEN)
            return _Result(reply=_engine_error(trouble, trouble))
        doubtful = self._endpoints.answered_at < began
        error = EngineError(
            f"{trouble} (tried {num_tried} times)" if num_tried > 1 else str(trouble),
            hint=trouble.hint,
            retryable=doubtful,  # otherwise it was tried as often as it may be
        )
        return _Result(reply=error, doubtful=doubtful)

    def _require_some_right(self) -> None:
        """One picture may be forbidden; so many in a row are a quota or a right that is gone.

        Looked at before each request as well, so that no more pictures are sent to who refuses them.
        """
        if self._num_forbidden >= _REFUSED_ALL:
            raise EngineDownError(
                f"the servers forbade {self._num_forbidden} requests in a row ({_FORBIDDEN})",
                hint="see whether the key's quota or rights are gone; what was described is kept",
            )

    def _require_some_answer(self, results: Sequence[_Result]) -> None:
        if any(endpoint.has_described for endpoint in self._endpoints.all):
            return
        refused = [result.reply for result in results if isinstance(result.reply, EngineError)]
        self._num_refused += len(refused)
        if self._num_refused >= _REFUSED_ALL:
            raise EngineDownError(
                f"the servers refused each of the first {self._num_refused} requests: {refused[-1]}",
                hint=refused[-1].hint,
            )


def _engine_error(error: Exception, trouble: ExchangeError) -> EngineError:
    return EngineError(str(error), hint=trouble.hint, retryable=trouble.kind == "away")


def _named(error: Exception) -> str:
    """Some of the library's exceptions say nothing but their name."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _http() -> Any:
    try:
        import httpx2
    except ImportError as error:
        raise EngineDownError(
            "the engine 'remote' needs the library httpx2", hint="install it with: pip install 'mien[remote]'"
        ) from error
    return httpx2
