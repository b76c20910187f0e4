"""Runs a service on a socket: bound early, ready when warm, and drained before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mien.errors import UsageError
from mien.serve.app import create_app
from mien.serve.inference import ServedModel
from mien.serve.service import Service
from mien.serve.settings import ServiceOptions

__all__ = ["bind", "run_service", "url_of"]

log = logging.getLogger(__name__)

_TICK: Final = 0.05  # seconds between two looks at whether to end
_MAX_HEAD: Final = 16 * 2**10  # bytes of a request's header
_BACKLOG: Final = 512
_KEEP_ALIVE: Final = 5  # seconds without a request, after which a connection is closed
_LAST_WRITES: Final = 5  # seconds for clients to read the last answers
_CLOSING: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def bind(options: ServiceOptions) -> socket.socket:
    """A socket at the address of the options; UsageError if it cannot be had.

    Bind it before the model is loaded, which can take minutes. Until the service listens, connections are
    refused.
    """
    try:
        family = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0][0]
        # asyncio turns Nagle's algorithm off (which waits 40 ms) only where the protocol is stated.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((options.host, options.port))
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"cannot listen on {options.host} port {options.port}: {error.strerror or error}",
            hint="choose another --port, or stop the program that uses it",
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL of a socket that is bound."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_service(
    model: ServedModel,
    options: ServiceOptions,
    listener: socket.socket,
    *,
    should_stop: Callable[[], bool],
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves a model until it should stop; then answers what was accepted, and returns.

    Requests that come meanwhile are refused with 503, so none is lost without a word.

    Args:
        model: Predicts.
        options: Who may use it, and its limits.
        listener: From `bind`; it is closed at the end.
        should_stop: Whether to end; it is looked at many times a second.
        on_ready: Is called when the first request can be answered.

    Raises:
        MienError: The model cannot be loaded.
    """
    service = Service(model, options)
    try:
        asyncio.run(_run(service, listener, should_stop, on_ready))
    finally:
        service.close()
        listener.close()


async def _run(
    service: Service, listener: socket.socket, should_stop: Callable[[], bool], on_ready: Callable[[], None]
) -> None:
    server = _Server(_config(service))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    starting = asyncio.create_task(service.start())
    try:
        await _until(lambda: starting.done() or should_stop())
        if starting.done():
            starting.result()
            on_ready()
        await _until(lambda: serving.done() or should_stop())
        await _drain(service)
    finally:
        server.should_exit = True
        await serving


async def _drain(service: Service) -> None:
    """Waits until everything that was accepted is answered, but no longer than the options say."""
    service.drain()
    loop = asyncio.get_running_loop()
    ends = loop.time() + service.options.drain_seconds
    await _until(lambda: not service.num_pending or loop.time() > ends)
    if service.num_pending:
        log.warning("%d requests were not answered in time", service.num_pending)


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110  a signal handler, which stops it, sets no event
        await asyncio.sleep(_TICK)


def _config(service: Service) -> uvicorn.Config:
    options = service.options

    class Protocol(_BoundedProtocol):
        head_seconds = options.head_seconds
        max_connections = options.max_connections

    return uvicorn.Config(
        create_app(service),
        http=Protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_WRITES,
        h11_max_incomplete_event_size=_MAX_HEAD,
    )


class _Server(uvicorn.Server):
    """Leaves signals to the caller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedProtocol(H11Protocol):
    """Closes connections that do not send the header of a request in time, and those that are too many.

    uvicorn itself waits for a header without end.
    """

    head_seconds: float
    max_connections: int
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.write(_CLOSING)
            transport.close()
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._close_without_head)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_without_head(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()
