"""The guard of Serve's HTTP proxies: they take no more than a service on its own would.

Serve's proxies themselves read bodies without a limit. `guard` stands before them where Ray is started with
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=mien.serve.ray.proxy:guard. It applies to everything that Serve
answers, so a cluster should serve nothing else.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import EngineDownError
from mien.serve.batching import deadline_error
from mien.serve.errors import RequestError, as_request_error
from mien.serve.limits import BodyReader, ByteBudget, ClientLeftError, TrackedReceive
from mien.serve.ray.environment import max_upload_of_proxies, token
from mien.serve.ray.refusals import GUARDED, REPLICA_HEADER, check_request, error_response, log_to_serve
from mien.serve.security import is_public, request_id_of
from mien.serve.settings import ServiceOptions

__all__ = ["Guard", "guard"]

log = logging.getLogger(__name__)

_HEALTH: Final = "/-/healthz"  # of the proxy; an orchestrator has no token, and may use any name of the host
# With these, a client could choose its replica, wait without end, or have Serve work after it has left.
_FOR_SERVE: Final = re.compile(
    rb"x[-_]request[-_](timeout[-_]seconds|disconnect[-_]disabled|id)"
    rb"|serve[-_]multiplexed[-_]model[-_]id|.*session[-_]id"
)
# What Serve itself says: no such application, too late, its queue is full, it has no replica.
_OF_SERVE: Final = (404, 408, 429, 500, 503)


def guard() -> list[Middleware]:
    """What Serve calls when it starts a proxy.

    MIEN_SERVE_TOKEN is the token that clients must send, MIEN_SERVE_MAX_UPLOAD the most MiB of a request.

    Raises:
        UsageError: A variable is wrong.
    """
    log_to_serve()
    options = ServiceOptions(token=token(), max_body_bytes=max_upload_of_proxies())
    return [Middleware(Guard, options=options)]


class Guard:
    """Checks access, and reads bodies within limits of bytes and time, before Serve holds anything.

    Args:
        app: Serve's proxy.
        options: The token and the limits.
    """

    def __init__(self, app: ASGIApp, options: ServiceOptions) -> None:
        self._app, self._options = app, options
        self._budget = ByteBudget(options.max_pending_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or scope["path"] == _HEALTH:
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = _clean_headers(scope)
        scope[GUARDED] = True
        tracked, answer = TrackedReceive(receive), _Answer(send, request_id)
        error: RequestError | None = None
        try:
            check_request(scope, self._options)
        except RequestError as found:
            error = found
        else:
            error = await self._forward(scope, tracked, answer)
        if error is not None:
            await self._refuse(error, request_id, scope, tracked, send)
            log.info("%s %d %s %.3f s", request_id, error.status, error.code, time.monotonic() - began)

    async def _forward(self, scope: Scope, receive: TrackedReceive, answer: _Answer) -> RequestError | None:
        """Lets Serve answer; returns why it did not."""
        headers = Headers(scope=scope)
        public = is_public(scope["path"])
        # Anyone may ask for these, so their bodies take no bytes of others, and Serve gets none.
        budget = ByteBudget(self._options.max_body_bytes) if public else self._budget
        reader = BodyReader(receive, self._options, budget, headers.get("content-length"))
        with reader:
            body = _Body(reader, receive)
            if public:
                await body.discard()
            if not body.is_broken:
                await self._app(scope, body, answer)
        if answer.is_sent or body.has_left:
            return None
        return body.error or _why_not(answer.status)

    async def _refuse(
        self, error: RequestError, request_id: str, scope: Scope, receive: TrackedReceive, send: Send
    ) -> None:
        response = error_response(error, request_id)
        # As in `mien.serve.app`: many clients see no answer before they have sent everything.
        if error.status != 408 and "expect" not in Headers(scope=scope):
            await receive.discard(self._options.max_body_bytes)
        if not receive.is_complete:
            response.headers["connection"] = "close"
        await response(scope, receive, send)


class _Body:
    """The body of a request as Serve receives it: where a limit is reached, the client seems to leave."""

    def __init__(self, reader: BodyReader, receive: TrackedReceive) -> None:
        self._pieces = reader.pieces()
        self._is_given = False  # to its end
        self._receive = receive
        self.error: RequestError | None = None
        self.has_left = False

    @property
    def is_broken(self) -> bool:
        """Whether it has no end, because of a limit or because the client has left."""
        return self.error is not None or self.has_left

    async def discard(self) -> None:
        """Reads it to its end, so that Serve receives an empty one."""
        while await self._next() is not None:
            pass

    async def __call__(self) -> Message:
        if self._is_given and not self.has_left:
            message = await self._receive()
            self.has_left = message["type"] == "http.disconnect"
            return message
        piece = None if self.is_broken else await self._next()
        if self.is_broken:
            return {"type": "http.disconnect"}
        self._is_given = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def _next(self) -> bytes | None:
        """The next piece; None if there is none."""
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            pass
        except ClientLeftError:
            self.has_left = True
        except RequestError as error:
            self.error = error
        return None


class _Answer:
    """Passes on what a replica answers, and withholds what Serve itself says instead of one."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.is_sent = False
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self.is_sent = REPLICA_HEADER in headers or self.status not in _OF_SERVE
            headers["x-request-id"] = self._request_id  # once: Serve has added it to that of the replica
        if self.is_sent:
            await self._send(message)


def _why_not(status: int | None) -> RequestError:
    """The error to send where no replica has answered; `status` is what Serve would have sent."""
    if status == 404:
        return RequestError(
            404, "not_found", "no application has this path", hint="deploy the application at /"
        )
    if status == 408:
        return deadline_error()
    if status in (429, 503):
        return RequestError(
            503, "not_ready", "no replica can take the request now", hint="try again later", retry_after=1
        )
    # The replica has ended with the request.
    return as_request_error(EngineDownError("a replica has ended", hint="try again"))


def _clean_headers(scope: Scope) -> str:
    """Takes out what would steer Serve, and gives the request the id that the client chose, or a new one."""
    request_id = request_id_of(Headers(scope=scope))
    headers = [(name, value) for name, value in scope["headers"] if not _FOR_SERVE.fullmatch(name.lower())]
    scope["headers"] = [*headers, (b"x-request-id", request_id.encode())]
    return request_id
