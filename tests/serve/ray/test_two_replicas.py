"""Two replicas behind Serve's proxy answer as a single process does, and one outlives the other.

All of it is one test, because Ray, Serve and the replicas take longest to start.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from tests.factories.hostile_images import JPEG, PNG
from tests.factories.odd_media import png_claiming
from tests.factories.service import running_service
from tests.serve.ray.conftest import HANGS, MAX_PENDING, TOKEN, Deployed, import_ray_serve

import mien
from mien.describe.ray.connection import ray_library
from mien.errors import UsageError
from mien.serve.ray.model import open_model

import_ray_serve()

Noise = Callable[..., bytes]
SECRET = "name-of-a-person"
PLACES = 2 * MAX_PENDING
HEAD = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"


def test_two_replicas(deployed: Deployed, noise: Noise) -> None:
    replicas = check_same_answers(deployed, noise)
    check_access(deployed, noise)
    check_refusals(deployed, noise)
    check_places(deployed, noise)
    check_metrics(replicas)
    check_death_of_a_replica(deployed, noise, replicas)
    check_log(deployed)
    check_drain(deployed, noise)


class Limit:
    """Ends a loop that would never end, by an error."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + HANGS

    def is_open(self) -> bool:
        """True, until it is certain that something hangs."""
        if time.monotonic() > self._ends:
            raise TimeoutError(f"this did not happen within {HANGS:g} s")
        return True


def post(
    deployed: Deployed, image: bytes, *, token: str | None = TOKEN, path: str = "/v1/predict", **sent: Any
) -> httpx2.Response:
    with deployed.client(token) as client:
        return client.post(path, files={"images": image}, **sent)


@contextmanager
def held(deployed: Deployed) -> Iterator[None]:
    """Holds both models back."""
    for file in deployed.folder.glob("*.reading"):
        file.unlink()
    deployed.hold.touch()
    try:
        yield
    finally:
        deployed.hold.unlink(missing_ok=True)


def check_same_answers(deployed: Deployed, noise: Noise) -> set[str]:
    """Both replicas answer what a single process answers, damaged images and bombs included."""
    bomb = png_claiming(60_000, 60_000, depth=8, color=0, row=bytes(60_001), count=2000)
    broken = (b"\xff", b"<html></html>", JPEG[: len(JPEG) // 2], PNG[:8], JPEG + bytes(2**17))
    images = [noise(1), noise(2, (90, 70), "JPEG"), bomb, *broken]
    sent: dict[str, Any] = {"files": [("images", image) for image in images]}
    replicas: set[str] = set()
    model = open_model(deployed.arguments, max_pixels=80_000_000)
    with running_service(model) as alone, deployed.client() as client:
        expected = httpx2.post(f"{alone.url}/v1/predict", **sent, timeout=HANGS, trust_env=False).json()
        assert [item["status"] for item in expected["results"]][:3] == ["ok", "ok", "failed"]
        cards = httpx2.get(f"{alone.url}/v1/models", timeout=HANGS, trust_env=False).json()["models"]
        limit = Limit()
        while limit.is_open() and len(replicas) < 2:
            answer = client.post("/v1/predict", **sent)
            assert answer.status_code == 200
            assert_close(answer.json(), expected)
            replicas.add(answer.headers["x-mien-replica"])
            assert client.get("/v1/models").json()["models"] == cards
    with mien.Client(deployed.url, token=TOKEN) as remote:
        (person,) = remote.predict(images[0])
        wanted = expected["results"][0]["people"][0]["scores"]
        assert dict(person.scores) == pytest.approx(wanted, abs=1e-5)
    return replicas


def assert_close(found: Any, expected: Any) -> None:
    """Equal, but for the last digits of numbers."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert_close(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


def check_access(deployed: Deployed, noise: Noise) -> None:
    """The token is needed from everyone, and the page and the state of the service are for anyone."""
    for token in (None, TOKEN[:-1]):
        answer = post(deployed, noise(), token=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        with deployed.client(token) as client:
            assert client.get("/-/routes").status_code == 401
            for path in ("/", "/readyz", "/healthz", "/-/healthz"):
                assert client.get(path).status_code == 200
    foreign = post(deployed, noise(), headers={"origin": "http://evil.example"})
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "forbidden")
    with mien.Client(deployed.url, token="x" * 32) as remote, pytest.raises(UsageError, match="token"):
        remote.predict(noise())


def check_refusals(deployed: Deployed, noise: Noise) -> None:
    """What a request must not hold is refused with the same codes, and nothing of it is in the log."""
    large = post(deployed, bytes(2**20 + 1))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    assert "x-mien-replica" not in large.headers  # the proxy has refused it
    for length, expected in (("1000000000000", 413), ("5, 6", 400)):
        said = say(deployed, f"{HEAD}content-length: {length}\r\n\r\n".encode())
        assert int(said.split()[1]) == expected
    assert body_without_end(deployed) < 2**26
    with deployed.client() as client:
        metrics = client.get("/metrics")
        assert (metrics.status_code, metrics.json()["error"]["code"]) == (404, "not_found")
        unknown = client.get(f"/{SECRET}", params={"q": SECRET})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
        steering = {"x-request-timeout-seconds": "0.001", "x-request-id": f"{SECRET} {SECRET}"}
        files = {"images": (SECRET, noise(), SECRET)}
        answer = client.post("/v1/predict", params={"q": SECRET}, files=files, headers=steering)
        assert answer.status_code == 200
        assert SECRET not in answer.headers["x-request-id"]
        named = client.post("/v1/predict", files={"images": b""}, headers={"x-request-id": "mine-7"})
        assert named.headers["x-request-id"] == "mine-7"
        wrong = client.post("/v1/predict", files={"images": noise()}, data={"boxes": SECRET})
        assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "boxes.0")


def address(deployed: Deployed) -> tuple[str, int]:
    url = httpx2.URL(deployed.url)
    assert url.port is not None
    return url.host, url.port


def connect(deployed: Deployed) -> socket.socket:
    return socket.create_connection(address(deployed), timeout=HANGS)


def say(deployed: Deployed, *pieces: bytes) -> bytes:
    """What the proxy answers until it closes the connection."""
    with connect(deployed) as connection:
        for piece in pieces:
            connection.sendall(piece)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found


def body_without_end(deployed: Deployed) -> int:
    """How many bytes of it could be sent."""
    sent = 0
    with connect(deployed) as connection:
        connection.sendall(f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode())
        try:
            while sent < 2**26:
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                sent += 65536
        except OSError:  # the proxy has closed the connection
            pass
    return sent


def check_places(deployed: Deployed, noise: Noise) -> None:
    """More requests than there are places are refused; clients that leave give their places back."""
    form = httpx2.Request("POST", deployed.url, files={"images": noise(3)})
    kind, body = form.headers["content-type"], form.read()
    head = f"{HEAD}content-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    leaving: dict[str, socket.socket] = {}
    with held(deployed):
        is_full, limit = False, Limit()
        while limit.is_open() and not is_full:  # until all places are taken by clients that wait
            name = f"leaving-{len(leaving)}"
            connection = connect(deployed)
            leaving[name] = connection
            connection.sendall(f"{head}x-request-id: {name}\r\n\r\n".encode() + body)
            is_full = is_refused(connection)
        for connection in leaving.values():
            connection.close()
        wait_until(lambda: all(has_ended(name, deployed.log()) for name in leaving))
        assert re.search(r"leaving-\d+ POST /v1/predict 499", deployed.log())
        with ThreadPoolExecutor(1) as pool:
            # It waits for the model, which is still held: a refusal would have come at once.
            accepted = pool.submit(post, deployed, noise(4))
            deployed.hold.unlink()
            assert accepted.result(HANGS).status_code == 200
    with ThreadPoolExecutor(10 * PLACES) as pool, held(deployed):
        futures = [pool.submit(post, deployed, noise(number)) for number in range(10 * PLACES)]
        wait_until(lambda: any(future.done() for future in futures))
        deployed.hold.unlink()
        answers = [future.result(HANGS) for future in futures]
    for answer in answers:
        if answer.status_code != 200:
            assert answer.json()["error"]["code"] in ("overloaded", "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
    statuses = {answer.status_code for answer in answers}
    assert 200 in statuses
    assert statuses & {429, 503}
    assert statuses <= {200, 429, 503}
    assert [post(deployed, noise(number)).status_code for number in range(4)] == [200] * 4


def is_refused(connection: socket.socket) -> bool:
    """Whether an answer comes soon, which can only be a refusal while the models are held."""
    connection.settimeout(1.0)
    try:
        return connection.recv(20).startswith(b"HTTP/1.1 429")
    except TimeoutError:
        return False


def has_ended(name: str, log: str) -> bool:
    """Whether a replica, the guard or the proxy says that a request is over."""
    ends = rf"{name} (POST /v1/predict|429|503) |Client for request {name} disconnected"
    return re.search(ends, log) is not None


def wait_until(is_so: Callable[[], bool]) -> None:
    pause, limit = threading.Event(), Limit()
    while limit.is_open() and not is_so():
        pause.wait(0.05)


def check_metrics(replicas: set[str]) -> None:
    """Ray exports the counters of all replicas."""
    (node,) = ray_library().nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    named = re.compile(r'ray_mien_requests_total\{.*endpoint="/v1/predict".*replica="(\w+)".*status="200"')

    def found() -> set[str]:
        return set(named.findall(httpx2.get(url, timeout=HANGS, trust_env=False).text))

    wait_until(lambda: found() >= replicas)


def check_death_of_a_replica(deployed: Deployed, noise: Noise, replicas: set[str]) -> None:
    """Its requests fail with a code that says so, the other replica answers, and Serve starts a new one."""
    with ThreadPoolExecutor(8) as pool, held(deployed):
        futures: list[Future[httpx2.Response]] = []
        limit = Limit()
        while limit.is_open() and len(deployed.readers()) < 2:
            if sum(not future.done() for future in futures) < PLACES:
                futures.append(pool.submit(post, deployed, noise(len(futures))))
        waiting = [future for future in futures if not future.done()]
        os.kill(min(deployed.readers()), signal.SIGKILL)
        wait_until(lambda: any(future.done() for future in waiting))
        deployed.hold.unlink()
        answers = [future.result(HANGS) for future in waiting]
    # A replica may refuse the last ones, because others came first.
    assert {answer.status_code for answer in answers} - {429} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "engine_down_error"
            assert int(answer.headers["retry-after"]) >= 1
    with mien.Client(deployed.url, token=TOKEN) as remote, deployed.client() as client:
        alive: set[str] = set()
        limit = Limit()
        while limit.is_open() and not (alive - replicas and alive & replicas):
            assert remote.predict(noise(5))[0].scores
            alive.add(client.get("/v1/models").headers.get("x-mien-replica", ""))
            alive.discard("")


def check_log(deployed: Deployed) -> None:
    log = deployed.log()
    assert "mine-7 POST /v1/predict 200" in log
    assert "413 too_large" in log
    assert SECRET not in log
    assert TOKEN not in log


def check_drain(deployed: Deployed, noise: Noise) -> None:
    """An application that is removed answers what it has accepted, and nothing more."""
    from ray import serve

    with ThreadPoolExecutor(2) as pool, held(deployed):
        accepted = pool.submit(post, deployed, noise(6))
        wait_until(lambda: bool(deployed.readers()))
        removed = pool.submit(serve.delete, "mien")
        with deployed.client() as client:
            wait_until(lambda: client.get("/v1/models").status_code != 200)
            after = client.get("/v1/models")
        assert after.json()["error"]["code"] in ("not_found", "not_ready")
        assert not accepted.done()
        deployed.hold.unlink()
        assert accepted.result(HANGS).status_code == 200
        removed.result(HANGS)
