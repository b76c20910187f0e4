"""The application of a replica, and what the deployment asks of Ray, without Ray running."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from tests.factories.tiny_runs import train_tiny_run
from tests.serve.ray.conftest import import_ray_serve, run_async

from mien.errors import EngineError, UsageError
from mien.serve.ray.arguments import Arguments
from mien.serve.ray.refusals import GUARDED, log_to_serve
from mien.serve.ray.replica import ReplicaApp

LOCAL = ("127.0.0.1", 5000)


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
    sent: list[Message] = []
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
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    run_async(app({name: value for name, value in scope.items() if value is not None}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


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


def test_without_a_guard_where_that_is_allowed(arguments: Arguments) -> None:
    app = ReplicaApp(arguments.model_copy(update={"unguarded": True}), "abc")
    assert ask(app, "/v1/models", **{GUARDED: None})[0] == 200
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


def test_ray_must_be_protected(arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    import_ray_serve()
    import ray

    from mien.serve.ray import app

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(UsageError, match="without a token"):
        app(arguments)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    app(arguments)
    monkeypatch.setattr(ray, "__version__", "2.57.0")
    with pytest.raises(UsageError, match=r"2\.57\.0 does not protect"):
        app(arguments)


def test_a_relative_run_is_found_from_everywhere(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ray_serve()
    from mien.serve import ray

    assert arguments.run is not None
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.chdir(Path(arguments.run).parent)
    assert ray.app(Arguments(run="run")) is not None
    with pytest.raises(AttributeError):
        ray.__getattr__("nothing")
