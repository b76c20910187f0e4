"""A proxy in front of a chat-completions server that causes faults according to a schedule.

A schedule maps an item and the number of its earlier requests to a fault or None. Two requests with the same
body are the same item.
"""

import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.factories.chat_server import Handler, Server

Schedule = Callable[[str, int], str | None]

# Faults that servers and networks have now and then; a retry helps.
TEMPORARY = (
    *("429", "429 with seconds", "429 with date", "500", "502", "503", "reset", "slow drip", "hang"),
    *("invalid JSON", "another kind of JSON", "no choices", "truncated", "garbage", "wrong model", "abort"),
)
# Faults that concern one item and stay.
PERMANENT = ("400", "413", "422", "content filter", "refusal", "empty")


def never(item: str, before: int) -> str | None:
    """The schedule without a fault."""
    return None


class FaultProxy(Server):
    """Forwards requests to `upstream` and counts them.

    Attributes:
        num_requests: by item.
        num_faults: by fault; "none" for requests without one.
        most_in_flight: most requests answered at the same time.
        num_hanging: connections that hang now.
    """

    def __init__(self, upstream: str, schedule: Schedule = never) -> None:
        self.upstream = upstream
        self.schedule = schedule
        self.num_requests: Counter[str] = Counter()
        self.num_faults: Counter[str] = Counter()
        self.most_in_flight = 0
        self.num_hanging = 0
        self._in_flight = 0
        self._lock = threading.Lock()
        super().__init__(_Proxy)

    @contextmanager
    def count(self, item: str) -> Iterator[str | None]:
        """Counts a request and yields its fault, if any."""
        with self._lock:
            fault = self.schedule(item, self.num_requests[item])
            self.num_requests[item] += 1
            self.num_faults[fault or "none"] += 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            yield fault
        finally:
            with self._lock:
                self._in_flight -= 1

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with self._lock:
            self.num_hanging += 1
        try:
            yield
        finally:
            with self._lock:
                self.num_hanging -= 1


class _Proxy(Handler):
    server: FaultProxy

    def do_POST(self) -> None:  # noqa: N802  # http.server goes by this name
        body = self.content()
        with self.server.count(body.decode()) as fault:
            # Ends the count before the last byte is sent, because the client may send the next request then.
            status, content = self._respond(fault, body)
        if fault in _CONNECTION:
            _CONNECTION[fault](self, content)
            self.close_connection = True
        else:
            self.answer(status, content, _headers(fault))

    def _respond(self, fault: str | None, body: bytes) -> tuple[int, Any]:
        if fault is not None and fault[:3].isdigit():
            return int(fault[:3]), {"error": {"message": f"fault {fault}"}}
        status, content = self._upstream(body)
        if fault in _CONTENT:
            return 200, _CONTENT[fault](json.loads(content))
        return status, content

    def _upstream(self, body: bytes) -> tuple[int, bytes]:
        address = f"{self.server.upstream.removesuffix('/v1')}{self.path}"
        headers = {"Content-Type": "application/json", "Authorization": self.headers.get("Authorization", "")}
        try:
            request = urllib.request.Request(address, body, headers)  # noqa: S310  # to this machine
            with open_direct(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def reset(self, content: bytes) -> None:
        # Closing without lingering sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, content: bytes) -> None:
        self._begin(len(content))
        for byte in content:
            if self.server.closing.wait(0.05):
                break
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def hang(self, content: bytes) -> None:
        self.connection.settimeout(0.05)
        with self.server.hanging():
            while not self.server.closing.is_set():
                try:
                    if not self.connection.recv(1):
                        break  # the client closed the connection
                except TimeoutError:
                    continue

    def truncate(self, content: bytes) -> None:
        self._begin(len(content))
        self.wfile.write(content[: len(content) // 2])

    def _begin(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.flush()


# Ignores proxies in the environment.
open_direct = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

_CONNECTION: Mapping[str | None, Callable[[_Proxy, bytes], None]] = {
    "reset": _Proxy.reset,
    "slow drip": _Proxy.drip,
    "hang": _Proxy.hang,
    "truncated": _Proxy.truncate,
}


def _message(answer: dict[str, Any], *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {**answer, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


_CONTENT: Mapping[str | None, Callable[[dict[str, Any]], object]] = {
    "invalid JSON": lambda answer: json.dumps(answer).encode()[:-7],
    "another kind of JSON": lambda answer: ["hello"],
    "no choices": lambda answer: {**answer, "choices": []},
    "garbage": lambda answer: bytes(range(256)),
    "wrong model": lambda answer: {**answer, "model": "another-13b"},
    "abort": lambda answer: _message(answer, content="The per", finish="abort"),
    "empty": lambda answer: _message(answer, content=""),
    "content filter": lambda answer: _message(answer, content="", finish="content_filter"),
    "refusal": lambda answer: _message(answer, content=None, refusal="I cannot help with that."),
}


def _headers(fault: str | None) -> dict[str, str]:
    if fault == "429 with seconds":
        return {"Retry-After": "0.02"}
    if fault == "429 with date":
        return {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)}
    return {}


@contextmanager
def fault_proxy(upstream: str, schedule: Schedule = never) -> Iterator[FaultProxy]:
    """A proxy that runs inside the block."""
    proxy = FaultProxy(upstream, schedule)
    try:
        yield proxy
    finally:
        proxy.close()


def unused_address() -> str:
    """An address where no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds; fails after two minutes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "the condition did not hold within two minutes"
        time.sleep(0.005)
