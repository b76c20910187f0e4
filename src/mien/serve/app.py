"""The HTTP interface of a service: its routes, and what surrounds each request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import EngineDownError
from mien.serve.errors import RequestError, as_request_error, error_answer
from mien.serve.limits import ClientLeftError, TrackedReceive
from mien.serve.metrics import CONTENT_TYPE
from mien.serve.openapi import DESCRIPTION, error_responses, request_body
from mien.serve.page.files import add_page
from mien.serve.schemas import (
    DescribeAnswer,
    ExplainAnswer,
    ExplainRequest,
    Health,
    ImagesRequest,
    Limits,
    ModelsAnswer,
    PredictAnswer,
)
from mien.serve.security import PUBLIC_PATHS, SECURITY_HEADERS, check_access, request_id_of
from mien.serve.service import Service
from mien.serve.settings import ServiceOptions
from mien.version import __version__

__all__ = ["create_app"]

log = logging.getLogger(__name__)

_LEFT: Final = 499  # the client closed the connection; as in nginx, for the log only
_READING: Final = (401, 403, 408, 413, 415, 422, 429, 500, 503, 504)
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_ENDPOINTS: Final = (
    "/v1/predict", "/v1/describe", "/v1/explain", "/v1/models",
    "/healthz", "/readyz", "/metrics", "/openapi.json",
)  # fmt: skip


def create_app(service: Service, *, check: Callable[[Scope, ServiceOptions], None] | None = None) -> ASGIApp:
    """The application of a service, to be started and closed by the caller.

    Args:
        service: Answers.
        check: Raises RequestError for a request that is refused; `check_access` if None.
    """
    app = FastAPI(
        title="mien",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _on_http_exception)
    _add_model_routes(app, service)
    _add_status_routes(app, service)
    add_page(app)
    return _Guard(app, service, check or _check_access)


def _add_model_routes(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/predict",
        response_model=PredictAnswer,
        responses=error_responses(*_READING),
        openapi_extra=request_body(ImagesRequest),
        summary="Find people in images and score how they appear to feel",
        operation_id="predict",
    )
    async def predict(request: Request) -> Response:
        return await _respond(service, service.predict, request)

    @app.post(
        "/v1/describe",
        response_model=DescribeAnswer,
        responses=error_responses(*_READING, 404),
        openapi_extra=request_body(ImagesRequest),
        summary="Find people in images and describe them in words",
        operation_id="describe",
    )
    async def describe(request: Request) -> Response:
        return await _respond(service, service.describe, request)

    @app.post(
        "/v1/explain",
        response_model=ExplainAnswer,
        responses=error_responses(*_READING, 404),
        openapi_extra=request_body(ExplainRequest),
        summary="Explain the scores of one person in an image",
        operation_id="explain",
    )
    async def explain(request: Request) -> Response:
        return await _respond(service, service.explain, request)


def _add_status_routes(app: FastAPI, service: Service) -> None:
    options = service.options
    limits = Limits(
        max_images=options.max_images,
        max_boxes=options.max_boxes,
        max_bytes=options.max_body_bytes,
        max_pixels=options.max_pixels,
    )

    @app.get(
        "/v1/models",
        responses=error_responses(401, 403),
        summary="What is served, and what one request may hold",
        operation_id="models",
    )
    async def models() -> ModelsAnswer:
        return ModelsAnswer(version=__version__, models=[service.card], limits=limits)

    @app.get(
        "/healthz",
        response_model=Health,
        responses=error_responses(403, 503),
        summary="Whether the process lives; if not, it must be restarted",
        operation_id="healthz",
    )
    async def healthz(request: Request) -> Response:
        try:
            service.require_alive()
        except EngineDownError as error:
            return _error_response(as_request_error(error), request.scope)
        return _json_response(Health(status="ok"))

    @app.get(
        "/readyz",
        response_model=Health,
        responses=error_responses(403, 503),
        summary="Whether requests are accepted",
        operation_id="readyz",
    )
    async def readyz(request: Request) -> Response:
        try:
            service.require_ready()
        except RequestError as error:
            return _error_response(error, request.scope)
        return _json_response(Health(status="ready"))

    @app.get(
        "/metrics",
        response_class=Response,
        responses={
            **error_responses(401, 403),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
        summary="Counters for Prometheus",
        operation_id="metrics",
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


async def _respond(
    service: Service, call: Callable[[Request], Awaitable[BaseModel]], request: Request
) -> Response:
    try:
        return _json_response(await call(request))
    except ClientLeftError:
        return Response(status_code=_LEFT)
    except Exception as error:  # noqa: BLE001  no client sees a traceback
        if not isinstance(error, RequestError):
            log.error("%s failed: %s", _request_id(request.scope), type(error).__name__)
        found = as_request_error(error)
        return _error_response(found, request.scope)


def _json_response(answer: BaseModel) -> Response:
    # Not through FastAPI, which would check the values again.
    return Response(answer.model_dump_json(), media_type="application/json")


def _error_response(error: RequestError, scope: Scope, headers: dict[str, str] | None = None) -> Response:
    scope["state"]["error_code"] = error.code
    content, own = error_answer(error, _request_id(scope))
    return JSONResponse(content, status_code=error.status, headers={**(headers or {}), **own})


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    found = RequestError(
        error.status_code,
        _CODES.get(error.status_code, "invalid_request"),
        f"{request.method} of this path is not served" if error.status_code == 405 else "the path is unknown",
        hint="see /openapi.json for all paths",
    )
    return _error_response(found, request.scope, dict(error.headers or {}))


def _request_id(scope: Scope) -> str:
    found: str = scope["state"]["request_id"]
    return found


# --- Around each request -------------------------------------------------------------------------------


def _check_access(scope: Scope, options: ServiceOptions) -> None:
    check_access(scope["path"], Headers(scope=scope), options)


class _Guard:
    """Checks access, gives each request an id, counts it, and writes one line about it to the log.

    The line has the id, the method, the endpoint, the status and the time: nothing that was sent.
    """

    def __init__(
        self, app: ASGIApp, service: Service, check: Callable[[Scope, ServiceOptions], None]
    ) -> None:
        self._app, self._service, self._check = app, service, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _Exchange(TrackedReceive(receive), send, headers, self._service.options.max_body_bytes)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        began = time.monotonic()
        try:
            await self._answer(scope, exchange)
        except asyncio.CancelledError:  # Ray Serve cancels what no one waits for
            exchange.status = _LEFT
            raise
        finally:
            self._count(scope, exchange, time.monotonic() - began)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            self._check(scope, self._service.options)
        except RequestError as error:
            response = _error_response(error, scope)
            await response(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    def _count(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        endpoint = scope["path"] if scope["path"] in _ENDPOINTS else "other"
        metrics = self._service.metrics
        metrics.requests.labels(endpoint, str(exchange.status)).inc()
        code = scope["state"].get("error_code")
        if code is not None and endpoint not in PUBLIC_PATHS:
            metrics.refused.labels(code).inc()
        metrics.seconds.labels(endpoint).observe(seconds)
        if exchange.status == _LEFT:
            metrics.left.inc()
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        log.info("%s %s %s %d %.3f s", exchange.request_id, method, endpoint, exchange.status, seconds)


class _Exchange:
    """A request and its response, which gets headers and is not cut off by what the client still sends."""

    def __init__(self, receive: TrackedReceive, send: Send, headers: Headers, max_bytes: int) -> None:
        self.receive = receive
        self.status = 500
        self.request_id = request_id_of(headers)
        self._send, self._max_bytes = send, max_bytes
        self._expects_continue = "expect" in headers

    async def send(self, message: Message) -> None:
        """Sends a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self._finish_reading(message)
        if self.status != _LEFT:
            await self._send(message)

    async def _finish_reading(self, message: Message) -> None:
        headers: Any = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS:
            headers.setdefault(name.decode(), value.decode())
        headers["x-request-id"] = self.request_id
        # A client that waits for "100 Continue" sends nothing more if it sees the response first.
        if not self._expects_continue and self.status not in (_LEFT, 408):
            await self.receive.discard(self._max_bytes)
        if not self.receive.is_complete:
            headers["connection"] = "close"
