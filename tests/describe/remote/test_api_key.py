"""The API key goes from the environment to the server, and nowhere else."""

import logging
from typing import Any

import pytest
from PIL import Image
from tests.factories.chat_server import MODEL, ChatServer
from tests.factories.fault_proxy import fault_proxy

from mien.describe.engine import Request
from mien.describe.remote.engine import RemoteEngine
from mien.describe.retry import Backoff
from mien.errors import ConfigError, EngineError
from mien.recipe import RunOptions

FAST = Backoff(base=0.001, cap=0.01, max_retry_after=0.02)
ASKED = [Request(subject_id="s", images=(Image.new("RGB", (8, 8)),), prompt="How?")]


def remote(url: str, **run: Any) -> RemoteEngine:
    return RemoteEngine(MODEL, run=RunOptions(endpoints=(url,), **run), backoff=FAST)


KEY = "sk-0123456789-secret"


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({}, None),
        ({"OPENAI_API_KEY": KEY}, f"Bearer {KEY}"),
        ({"OPENAI_API_KEY": "another", "MIEN_API_KEY": f" {KEY}\n"}, f"Bearer {KEY}"),
    ],
)
def test_the_key_comes_from_the_environment(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], header: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_ORG_ID", "mine")  # for the servers of one company only
    remote(server.url).describe(ASKED)
    [headers] = server.headers
    assert headers.get("Authorization") == header
    assert "mine" not in headers.values()


@pytest.mark.parametrize("fault", ["401", "400", "500"])
def test_the_key_never_appears_in_messages_or_logs(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    monkeypatch.setenv("MIEN_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with fault_proxy(server.url, lambda item, before: f"{fault} {KEY}") as proxy:
        engine = remote(proxy.url, retries=1)
        try:
            [error] = engine.describe(ASKED)
        except EngineError as raised:
            error = raised
    assert isinstance(error, EngineError)
    assert "***" in str(error)
    shown = f"{error} {error.hint} {error.__cause__} {engine.__dict__} {engine.signature} {caplog.text}"
    assert KEY not in shown
    assert caplog.text


def test_a_key_that_no_header_can_hold_is_not_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_API_KEY", "sk-sé\ncret")
    with pytest.raises(EngineError, match="the API key in the environment") as caught:
        remote(server.url).describe(ASKED)
    assert "cret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@localhost/v1", f"http://localhost/v1?key={KEY}", f"http://me:{KEY}@[::1/v1"]
)
def test_a_key_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        remote(url)
    assert KEY not in f"{caught.value} {caught.value.hint}"


def test_an_unencrypted_key_gives_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, server: ChatServer
) -> None:
    monkeypatch.setenv("MIEN_API_KEY", KEY)
    remote(server.url).describe(ASKED)
    assert "unencrypted" not in caplog.text
    with pytest.raises(EngineError):
        remote("http://127.0.0.2:1/v1", retries=0).describe(ASKED)
    assert "unencrypted to 127.0.0.2" in caplog.text
    assert KEY not in caplog.text


def test_images_do_not_follow_a_redirect(server: ChatServer) -> None:
    with fault_proxy(server.url, lambda item, before: "307 elsewhere") as proxy:
        with pytest.raises(EngineError, match="status 307") as caught:
            remote(proxy.url).describe(ASKED)
        assert "redirect" in caught.value.hint
    assert server.bodies == []
