"""The guard before Serve's proxies: what it refuses by itself, and what it makes of Serve's own answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.serve.ray.conftest import run_async

from mien.errors import UsageError
from mien.serve.ray.proxy import Guard, guard
from mien.serve.ray.refusals import GUARDED, REPLICA_HEADER
from mien.serve.settings import ServiceOptions

TOKEN = "0123456789abcdef0123456789abcdef"
LOCAL = ("127.0.0.1", 5000)
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Exchange:
    """A request to the guard, whose body comes in pieces, and what the client gets."""

    def __init__(self, *pieces: bytes, is_open: bool = False, leaves: bool = False, **changes: Any) -> None:
        headers = {"host": "127.0.0.1", **changes.pop("headers", {})}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/v1/predict",
            "client": LOCAL,
            "server": LOCAL,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            **changes,
        }
        self._pieces = list(pieces)
        self._is_open, self._leaves = is_open, leaves
        self._is_read = False
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._pieces:
            piece = self._pieces.pop(0)
            self._is_read = not self._pieces and not self._is_open and not self._leaves
            return {"type": "http.request", "body": piece, "more_body": not self._is_read}
        if not self._is_read and not self._leaves and not self._is_open:
            self._is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._leaves:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def run(self, app: App, **options: Any) -> Exchange:
        run_async(Guard(app, ServiceOptions(**options))(self.scope, self.receive, self.send))
        return self

    @property
    def status(self) -> int | None:
        found: int | None = self.sent[0]["status"] if self.sent else None
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def code(self) -> str:
        found: str = json.loads(self.sent[1]["body"])["error"]["code"]
        return found


class Proxy:
    """Reads a body as Serve's proxy does, until the client leaves or the body ends, and answers."""

    def __init__(self, status: int | None = 200, *, is_replica: bool = True) -> None:
        self._status, self._is_replica = status, is_replica
        self.body = b""
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.body += message["body"]
            if not message["more_body"]:
                break
        await self.answer(send)

    async def answer(self, send: Send) -> None:
        if self._status is not None:
            headers = [(b"x-request-id", b"1")] * 2  # the second one is Serve's
            headers += [(REPLICA_HEADER.encode(), b"a")] if self._is_replica else []
            await send({"type": "http.response.start", "status": self._status, "headers": headers})
            await send({"type": "http.response.body", "body": b"of Serve"})


def test_a_body_passes_as_it_is() -> None:
    proxy = Proxy()
    exchange = Exchange(b"abc", b"", b"def").run(proxy)
    assert (exchange.status, proxy.body) == (200, b"abcdef")
    assert proxy.scope[GUARDED] is True
    assert [name.lower() for name, _ in exchange.sent[0]["headers"]].count(b"x-request-id") == 1


@pytest.mark.parametrize(
    ("exchange", "status", "code"),
    [
        (Exchange(b"x" * 60, b"x" * 60), 413, "too_large"),
        (Exchange(b"x" * 60, b"x" * 30), 200, ""),
        (Exchange(b"x", headers={"content-length": "101"}), 413, "too_large"),
        (Exchange(b"x", is_open=True), 408, "slow_request"),
        (Exchange(is_open=True), 408, "slow_request"),
    ],
    ids=["large", "small", "declared", "stops", "never begins"],
)
def test_bodies_are_bounded(exchange: Exchange, status: int, code: str) -> None:
    exchange.run(Proxy(), max_body_bytes=100, idle_seconds=0.05)
    assert exchange.status == status
    if code:
        assert exchange.code == code
        assert exchange.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("exchange", "status", "code"),
    [
        (Exchange(b"x" * 101, path="/readyz"), 413, "too_large"),
        (Exchange(b"x", path="/readyz", is_open=True), 408, "slow_request"),
        (Exchange(b"x", path="/readyz", leaves=True), None, ""),
    ],
    ids=["large", "stops", "left"],
)
def test_bodies_that_are_discarded_are_bounded(exchange: Exchange, status: int | None, code: str) -> None:
    proxy = Proxy()
    exchange.run(proxy, max_body_bytes=100, idle_seconds=0.05, token=TOKEN)
    assert exchange.status == status
    assert not code or exchange.code == code
    assert proxy.scope == {}


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/", "/page/examples.json"])
def test_bodies_of_anyone_take_no_bytes_of_others(path: str) -> None:
    exchanges = [Exchange(b"x" * 60, b"x" * 40, path=path) for _ in range(4)]
    allowed = Exchange(b"x" * 100, headers={"authorization": f"Bearer {TOKEN}"})
    bodies: list[bytes] = []

    async def ask() -> None:
        bodies.extend(await ask_together([*exchanges, allowed], token=TOKEN))

    run_async(ask())
    assert [exchange.status for exchange in [*exchanges, allowed]] == [200] * 5
    assert sorted(bodies) == [b"", b"", b"", b"", b"x" * 100]


async def ask_together(exchanges: list[Exchange], **options: Any) -> list[bytes]:
    """Lets all be read before one is answered, with room for the body of one; gives what Serve has read."""
    held, reading = asyncio.Event(), asyncio.Queue[bool]()
    bodies: list[bytes] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        reading.put_nowait(True)
        await held.wait()
        proxy = Proxy()
        if first["more_body"]:
            await proxy(scope, receive, send)
        else:
            await proxy.answer(send)
        bodies.append(first["body"] + proxy.body)

    guarding = Guard(wait, ServiceOptions(max_body_bytes=100, max_pending_bytes=150, **options))
    tasks = []
    for exchange in exchanges:
        call = guarding(exchange.scope, exchange.receive, exchange.send)
        tasks.append(asyncio.create_task(call))
        await reading.get()
    held.set()
    await asyncio.gather(*tasks)
    return bodies


def test_all_bodies_together_are_bounded() -> None:
    held, reading = asyncio.Event(), asyncio.Queue[bool]()
    first, second, third = (Exchange(b"x" * 100) for _ in range(3))

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        reading.put_nowait(True)
        await held.wait()
        await Proxy()(scope, receive, send)

    async def ask() -> None:
        guarding = Guard(wait, ServiceOptions(max_body_bytes=100, max_pending_bytes=150))
        tasks = []
        for exchange in (first, second):
            call = guarding(exchange.scope, exchange.receive, exchange.send)
            tasks.append(asyncio.create_task(call))
            await reading.get()
        held.set()
        await asyncio.gather(*tasks)
        await guarding(third.scope, third.receive, third.send)

    run_async(ask())
    assert (first.status, third.status) == (200, 200)
    assert (second.status, second.code) == (429, "overloaded")
    assert second.headers["retry-after"] == "1"


@pytest.mark.parametrize("is_open", [True, False])
def test_a_client_that_leaves_gets_no_answer(*, is_open: bool) -> None:
    assert Exchange(b"x", leaves=True, is_open=is_open).run(Proxy(None)).sent == []


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {}, 200),
        ({"client": ("192.0.2.1", 1)}, {}, 403),
        ({"server": ("192.0.2.1", 1)}, {}, 403),
        ({"client": None}, {}, 403),
        ({"headers": {"host": "evil.example"}}, {}, 403),
        ({"headers": {"origin": "http://evil.example"}}, {}, 403),
        ({"path": "/-/routes", "client": ("192.0.2.1", 1)}, {}, 403),
        ({"path": "/-/healthz", "client": ("192.0.2.1", 1)}, {}, 200),
        ({}, {"token": TOKEN}, 401),
        (
            {"headers": {"authorization": f"Bearer {TOKEN}", "host": "x"}, "client": None},
            {"token": TOKEN},
            200,
        ),
        ({"path": "/healthz", "client": ("192.0.2.1", 1)}, {"token": TOKEN}, 200),
        ({"path": "/-/routes"}, {"token": TOKEN}, 401),
    ],
)
def test_who_may_ask(changes: dict[str, Any], options: dict[str, Any], expected: int) -> None:
    proxy = Proxy()
    exchange = Exchange(b"x", **changes).run(proxy, **options)
    assert exchange.status == expected
    is_empty = expected != 200 or changes.get("path") == "/healthz"  # whose body is not passed on
    assert proxy.body == (b"" if is_empty else b"x")


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (404, 404, "not_found"),
        (408, 504, "deadline_exceeded"),
        (503, 503, "not_ready"),
        (429, 503, "not_ready"),
        (500, 503, "engine_down_error"),
        (None, 503, "engine_down_error"),
    ],
)
def test_what_serve_says_becomes_an_error_like_all_others(
    status: int | None, expected: int, code: str
) -> None:
    exchange = Exchange(b"x").run(Proxy(status, is_replica=False))
    assert (exchange.status, exchange.code) == (expected, code)
    assert len(exchange.sent) == 2
    assert ("retry-after" in exchange.headers) is (code != "not_found")
    if status is not None:
        assert Exchange(b"x").run(Proxy(status)).status == status  # of a replica


def test_headers_cannot_steer_serve() -> None:
    proxy = Proxy()
    headers = {
        "x-request-timeout-seconds": "0.1",
        "X_Request_Disconnect_Disabled": "?1",
        "serve_multiplexed_model_id": "m",
        "serve-multiplexed-model-id": "m",
        "x-session-id": "s",
        "x-request-id": "two words",
        "content-type": "text/plain",
    }
    Exchange(b"x", headers=headers).run(proxy)
    left = dict(proxy.scope["headers"])
    assert list(left) == [b"host", b"content-type", b"x-request-id"]
    assert len(left[b"x-request-id"]) == 32
    Exchange(b"x", headers={"x-request-id": "mine-7"}).run(proxy)
    assert dict(proxy.scope["headers"])[b"x-request-id"] == b"mine-7"


def test_no_websocket() -> None:
    proxy = Proxy()
    exchange = Exchange(type="websocket").run(proxy)
    assert exchange.sent == [{"type": "websocket.close", "code": 1008}]
    assert proxy.scope == {}


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SERVE_TOKEN", TOKEN)
    monkeypatch.setenv("MIEN_SERVE_MAX_UPLOAD", "2.5")
    (made,) = guard()
    assert made.kwargs["options"] == ServiceOptions(token=TOKEN, max_body_bytes=5 * 2**19)
    monkeypatch.delenv("MIEN_SERVE_MAX_UPLOAD")
    (made,) = guard()
    assert made.kwargs["options"] == ServiceOptions(token=TOKEN)


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan", "inf"])
def test_an_environment_that_is_wrong(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MIEN_SERVE_MAX_UPLOAD", text)
    with pytest.raises(UsageError):
        guard()
    monkeypatch.delenv("MIEN_SERVE_MAX_UPLOAD")
    monkeypatch.setenv("MIEN_SERVE_TOKEN", "short")
    with pytest.raises(UsageError, match="fewer than 16"):
        guard()
    monkeypatch.delenv("MIEN_SERVE_TOKEN")
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(UsageError, match="RAY_SERVE_ENABLE_HA_PROXY"):
        guard()
