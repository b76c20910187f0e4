"""Who may use a service, and that nothing is fetched or opened that a request names."""

from __future__ import annotations

import base64
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from tests.factories.service import RunningService, running_service

from mien.errors import UsageError
from mien.predict.predictor import Predictor
from mien.serve.security import check_access
from mien.serve.settings import ServiceOptions, is_loopback

Noise = Callable[..., bytes]
TOKEN = "0123456789abcdef0123456789abcdef"

_opened: list[str] = []
_connected: list[object] = []
_is_watching = threading.Event()


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _is_watching.is_set():
        return
    if event in ("open", "os.listdir", "os.scandir") and arguments:
        _opened.append(str(arguments[0]))
    elif event in ("socket.connect", "socket.getaddrinfo"):
        _connected.append(arguments[-1] if event == "socket.connect" else arguments[0])


@contextmanager
def watched() -> Iterator[None]:
    """Notes all files that this process opens, and all addresses that it connects to, service included."""
    if not getattr(_watch, "is_installed", False):
        sys.addaudithook(_watch)
        _watch.is_installed = True  # type: ignore[attr-defined]
    _opened.clear()
    _connected.clear()
    _is_watching.set()
    try:
        yield
    finally:
        _is_watching.clear()


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A server on this machine, and what was sent to it."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    is_over = threading.Event()

    def listen() -> None:
        while not is_over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                heard.append(connection.recv(1000))

    thread = threading.Thread(target=listen)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", heard
    is_over.set()
    thread.join()
    server.close()


def test_addresses_and_paths_are_never_fetched(
    http: httpx2.Client,
    noise: Noise,
    listener: tuple[str, list[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, heard = listener
    secret = tmp_path / "secret-photo.png"
    secret.write_bytes(noise(1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images[0]").write_bytes(noise(2))  # what images are called in messages
    targets = [
        f"http://{address}/a.png",
        f"https://{address}/a.png",
        f"//{address}/a.png",
        f"ftp://{address}/a.png",
        f"file://{secret}",
        f"file://{address}/a.png",
        str(secret),
        "secret-photo.png",
        "../secret-photo.png",
        "images[0]",
        f"data:text/plain,{secret}",
        f"|cat {secret}",
        f"@{secret}",
        f"hf://{address}/a",
        f"gopher://{address}/a",
        f"\\\\{address}\\share\\a.png",
    ]
    statuses = set()
    with watched():
        for target in targets:
            statuses |= _send_everywhere(http, "/v1/predict", target, noise())
        for target in targets[:1]:  # each explanation takes longer
            statuses |= _send_everywhere(http, "/v1/explain", target, noise())
        secret.read_bytes()
    assert statuses == {200, 422}
    assert heard == []
    # The watch itself works: what the test has opened is there, and nothing else.
    assert [path for path in _opened if "secret-photo" in path or "images[0]" in path] == [str(secret)]
    port = int(address.partition(":")[2])
    own = httpx2.URL(str(http.base_url)).port
    ports = {where[1] for where in _connected if isinstance(where, tuple)}
    assert port not in ports
    assert ports <= {own}


def _send_everywhere(http: httpx2.Client, endpoint: str, target: str, image: bytes) -> set[int]:
    text = base64.b64encode(target.encode()).decode()
    quick = {"counterfactuals": "false", "random_orders": "0", "cells": "2"}
    headers = {
        "referer": target,
        "x-forwarded-host": target,
        "x-original-url": target,
        "content-location": target,
    }
    encoded = {name: value.encode() for name, value in headers.items()}
    forms: list[dict[str, object]] = [
        {"data": {"images": target, **quick}, "files": {"x": b""}},
        {"files": {"images": (target, target.encode(), "image/png")}, "data": quick},
        {"files": {"images": (target, b"", "message/external-body")}, "data": quick},
        *(
            {"files": {"images": image}, "data": {**quick, name: target}}
            for name in (
                "boxes",
                "person",
                "labels",
                "descriptions",
                "url",
                "path",
                "image_url",
                "model",
                "run",
            )
        ),
        {"json": {"images": [target]}},
        {"json": {"images": [text]}},
        {"json": {"images": target}},
        {"json": {"images": [{"url": target}]}},
        {"json": {"images": [text], "boxes": target}},
        {"json": {"images": [text], "url": target}},
    ]
    found = set()
    for form in forms:
        answer = http.post(endpoint, params={"url": target, "image": target}, headers=encoded, **form)  # type: ignore[arg-type]
        found.add(answer.status_code)
        if endpoint == "/v1/predict" and answer.status_code == 200:
            for item in answer.json()["results"]:
                # Only the image that was really sent is read; what names one is not an image.
                assert (item["status"] == "failed") == (form.get("files") != {"images": image})
    return found


# --- Access --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "[::1]:80", "127.9.9.9", "LOCALHOST"]
)
def test_names_of_this_machine(host: str) -> None:
    check_access("/v1/predict", {"host": host}, ServiceOptions())


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "[::1", "10.0.0.1", "a@b"])
def test_names_that_another_site_has_pointed_here(http: httpx2.Client, host: str) -> None:
    answer = http.get("/v1/models", headers={"host": host})
    assert answer.status_code in {403, 400}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_other_sites(http: httpx2.Client, noise: Noise, headers: dict[str, str]) -> None:
    answer = http.post("/v1/predict", files={"images": noise()}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    preflight = http.options("/v1/predict", headers={**headers, "access-control-request-method": "POST"})
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_a_page_of_the_service_itself_may(http: httpx2.Client, service: RunningService, noise: Noise) -> None:
    headers = {"origin": service.url, "sec-fetch-site": "same-origin"}
    assert http.post("/v1/predict", files={"images": noise()}, headers=headers).status_code == 200


@pytest.fixture(scope="module")
def guarded(predictor: Predictor) -> Iterator[RunningService]:
    with running_service(predictor, token=TOKEN) as running:
        yield running


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}0",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer " + "x" * 5000,
        "Bearer ü",
    ],
)
def test_without_the_token(guarded: RunningService, noise: Noise, given: str | None) -> None:
    headers = [] if given is None else [(b"authorization", given.encode())]
    with httpx2.Client(base_url=guarded.url, headers=headers, trust_env=False) as client:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        answer = client.post("/v1/predict", files={"images": noise()})
        assert answer.status_code == 401
        assert TOKEN not in answer.text
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_with_the_token(guarded: RunningService) -> None:
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {TOKEN}", "host": "photos.example"}
        assert httpx2.get(f"{guarded.url}/v1/models", headers=headers, trust_env=False).status_code == 200


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(ServiceOptions(token=TOKEN))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("::", False),
        ("10.1.2.3", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    if not expected:
        with pytest.raises(UsageError, match="a token is needed"):
            ServiceOptions(host=host)
        assert ServiceOptions(host=host, token=TOKEN).host == host
