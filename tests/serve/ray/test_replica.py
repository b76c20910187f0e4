"""The application of a replica, and what the deployment asks of Ray, without Ray running."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message
from tests.factories.tiny_runs import train_tiny_run
from tests.serve.ray.conftest import TOKEN, import_ray_serve, run_async

from mien.errors import EngineDownError, EngineError, MienError, UsageError
from mien.serve.inference import ServedModel
from mien.serve.ray.arguments import Arguments
from mien.serve.ray.refusals import GUARDED, log_to_serve
from mien.serve.ray.replica import ReplicaApp

LOCAL = ("127.0.0.1", 5000)
Noise = Callable[..., bytes]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    run = train_tiny_run(tmp_path_factory.mktemp("tiny"))
    return Arguments(run=str(run), detector="none")


@pytest.fixture(scope="module")
def replica(arguments: Arguments) -> Iterator[ReplicaApp]:
    app = ReplicaApp(arguments, "abc")
    yield app
    app.close()


def ask(app: ReplicaApp, path: str, **changes: Any) -> tuple[int, dict[str, str], Any]:
    """The status, the headers and the content of an answer."""
    found: list[Message] = []
    body, is_read = changes.pop("sent", b""), False
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "client": LOCAL,
        "server": LOCAL,
        "headers": [(b"host", b"127.0.0.1"), (b"x-request-id", b"mine-7")],
        GUARDED: True,
        **changes,
    }

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        found.append(message)

    run_async(app({name: value for name, value in scope.items() if value is not None}, receive, send))
    headers = {name.decode(): value.decode() for name, value in found[0]["headers"]}
    return found[0]["status"], headers, json.loads(found[1]["body"])


def test_it_names_itself(replica: ReplicaApp) -> None:
    status, headers, card = ask(replica, "/v1/models")
    assert (status, headers["x-mien-replica"], headers["x-request-id"]) == (200, "abc", "mine-7")
    assert card["models"][0]["id"] == "run"
    assert ask(replica, "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("path", "changes", "expected", "code"),
    [
        ("/v1/models", {GUARDED: None}, 503, "not_ready"),
        ("/healthz", {GUARDED: None}, 503, "not_ready"),
        ("/v1/models", {"client": ("192.0.2.1", 9)}, 403, "forbidden"),
        ("/v1/models", {"headers": [(b"host", b"evil.example")]}, 403, "forbidden"),
        ("/metrics", {}, 404, "not_found"),
    ],
)
def test_what_it_refuses(
    replica: ReplicaApp, path: str, changes: dict[str, Any], expected: int, code: str
) -> None:
    status, headers, content = ask(replica, path, **changes)
    assert (status, content["error"]["code"], headers["x-mien-replica"]) == (expected, code, "abc")
    if GUARDED in changes:
        assert "mien.serve.ray.proxy:guard" in content["error"]["hint"]


def test_what_it_refuses_is_logged_and_counted(replica: ReplicaApp, caplog: pytest.LogCaptureFixture) -> None:
    def counted() -> dict[tuple[str, ...], float]:
        return {(item.name, *item.labels.values()): item.value for item in replica.samples()}

    refused, requests = ("mien_refused_total", "not_ready"), ("mien_requests_total", "/v1/models", "503")
    before = counted()
    with caplog.at_level(logging.INFO, logger="mien.serve"):
        ask(replica, "/v1/models", **{GUARDED: None})
    after = counted()
    assert [after[key] - before.get(key, 0) for key in (refused, requests)] == [1, 1]
    assert caplog.messages[0].startswith("mine-7 GET /v1/models 503 ")


def test_without_a_guard_where_that_is_allowed(arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = arguments.model_copy(update={"unguarded": True})
    monkeypatch.delenv("MIEN_SERVE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="MIEN_SERVE_TOKEN"):
        ReplicaApp(arguments, "abc")
    monkeypatch.setenv("MIEN_SERVE_TOKEN", TOKEN)
    app = ReplicaApp(arguments, "abc")
    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    assert ask(app, "/v1/models", **{GUARDED: None, "headers": headers})[0] == 200
    app.check_health()
    app.close()
    with pytest.raises(EngineError, match="closed"):
        app.check_health()


def test_what_it_counts(replica: ReplicaApp) -> None:
    ask(replica, "/v1/models")
    samples = {(sample.name, *sample.labels.values()): sample.value for sample in replica.samples()}
    assert samples["mien_requests_total", "/v1/models", "200"] >= 1
    assert samples["mien_ready",] == 1
    assert not [name for name, *_ in samples if name.endswith("_created")]


class Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_where_it_logs() -> None:
    recorder = Recorder()
    serve = logging.getLogger("ray.serve")
    serve.addHandler(recorder)
    try:
        log_to_serve()
        log_to_serve()
        logging.getLogger("mien.serve.app").info("once")
    finally:
        serve.removeHandler(recorder)
    assert recorder.messages == ["once"]


def test_a_replica_whose_model_is_broken_is_replaced(
    arguments: Arguments, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error")

    app = ReplicaApp(arguments, "abc")
    monkeypatch.setattr(ServedModel, "_read", fail)
    form = httpx2.Request("POST", "http://127.0.0.1", files={"images": noise()})
    headers = {"headers": [(name.encode(), value.encode()) for name, value in form.headers.items()]}
    app.check_health()
    for _ in range(5):
        assert ask(app, "/v1/predict", sent=form.read(), method="POST", **headers)[0] == 500
    with pytest.raises(EngineDownError, match="5 batches failed"):
        app.check_health()
    app.close()


def test_metrics_that_cannot_be_reported_kill_no_replica(
    replica: ReplicaApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import_ray_serve()
    from mien.serve.ray.deployment import Mien

    def fail(*_: object) -> None:
        raise ValueError("a gauge")

    made = Mien()
    made.app = replica
    monkeypatch.setattr(made._metrics, "report", fail)
    made.check_health()
    assert "a gauge" in caplog.text
    del made.app


def test_ray_must_be_protected(arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    import_ray_serve()
    import ray

    from mien.serve.ray import app

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(MienError, match=r"without a token.*RAY_AUTH_TOKEN on each node"):
        app(arguments)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    app(arguments)
    monkeypatch.setattr(ray, "__version__", "2.57.0")
    with pytest.raises(MienError, match=r"2\.57\.0 does not protect"):
        app(arguments)


def test_a_relative_run_is_found_from_everywhere(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ray_serve()
    from mien.serve import ray

    assert arguments.run is not None
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.chdir(Path(arguments.run).parent)
    assert ray.app({"run": "run", "replicas": "2"}) is not None
    with pytest.raises(MienError, match="unknown argument 'replica'; did you mean 'replicas'"):
        ray.app({"run": "run", "replica": "2"})
    with pytest.raises(AttributeError):
        ray.__getattr__("nothing")
