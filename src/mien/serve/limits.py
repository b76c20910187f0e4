"""Reads bodies of requests within limits of bytes and time.

What a client says about its body, such as Content-Length, is not believed: bytes are counted as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from starlette.types import Message, Receive

from mien.serve.errors import RequestError
from mien.serve.settings import ServiceOptions

__all__ = ["BodyReader", "ByteBudget", "ClientLeftError", "TrackedReceive", "wait_until_left"]

_LINGER_SECONDS: Final = 2.0


class ClientLeftError(Exception):
    """The client has closed the connection, so that no one waits for an answer."""


class TrackedReceive:
    """The channel of a request, which remembers whether its body was read to the end."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.is_complete = True
        return message

    async def discard(self, max_bytes: int) -> None:
        """Reads what the client still sends, for a moment: before its end, many clients see no answer."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.is_complete and count <= max_bytes:
                    count += len((await self()).get("body", b""))


class ByteBudget:
    """The bytes of all bodies that are held at once. Only for the thread of the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0

    def take(self, count: int) -> None:
        """Takes bytes; RequestError 429 if others hold too many."""
        if self.held + count > self._max_bytes:
            raise RequestError(
                429,
                "overloaded",
                "other requests hold all memory for uploads",
                hint="try again later, or with smaller images",
                retry_after=1,
            )
        self.held += count

    def give_back(self, count: int) -> None:
        """Gives bytes back."""
        self.held -= count


class BodyReader:
    """Reads the body of one request, piece by piece; a context that gives its bytes back.

    Args:
        receive: The channel of the request.
        options: The limits.
        budget: The bytes of all requests.
        declared: What Content-Length says: a reason to refuse a body, but none to accept it.
    """

    def __init__(
        self, receive: Receive, options: ServiceOptions, budget: ByteBudget, declared: str | None = None
    ) -> None:
        self._receive, self._options, self._budget = receive, options, budget
        self._declared = declared
        self._held = 0

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._held)
        self._held = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it arrives.

        Raises:
            RequestError: It is too large, or comes too slowly.
            ClientLeftError: The client has closed the connection.
        """
        declared = self._declared or ""
        if declared.isdecimal() and int(declared[:20]) > self._options.max_body_bytes:
            raise self._too_large()
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(self._options.read_seconds, self._options.deadline)
        has_more = True
        while has_more:
            message = await self._next(min(self._options.idle_seconds, ends - loop.time()))
            has_more = message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if self._held + len(piece) > self._options.max_body_bytes:
                raise self._too_large()
            self._budget.take(len(piece))
            self._held += len(piece)
            if piece:
                yield piece

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces()])

    async def _next(self, seconds: float) -> Message:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestError(
                408,
                "slow_request",
                "the body of the request comes too slowly",
                hint="send smaller images, or use a faster connection",
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        return message

    def _too_large(self) -> RequestError:
        return RequestError(
            413,
            "too_large",
            f"the request is larger than {self._options.max_body_bytes / 2**20:g} MiB",
            hint="send fewer or smaller images per request",
        )


async def wait_until_left(receive: Receive) -> None:
    """Returns when the client closes the connection; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
