"""Bodies that are too large, lie about their length, come too slowly, or end early; all are bounded."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
from pydantic import ValidationError
from tests.factories.service import RunningService, running_service

from mien.predict.predictor import Predictor
from mien.serve.errors import RequestError
from mien.serve.schemas import ImagesRequest

Noise = Callable[..., bytes]
FORM = "multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
def strict(predictor: Predictor) -> Iterator[RunningService]:
    """A service that is soon impatient."""
    with running_service(
        predictor,
        max_body_bytes=2**18,
        max_pending_bytes=2**19,
        max_images=3,
        max_boxes=2,
        max_pixels=200 * 200,
        head_seconds=0.5,
        idle_seconds=0.5,
        read_seconds=2.0,
        max_connections=20,
    ) as running:
        yield running


def head(length: str | None, *, kind: str = FORM, more: str = "") -> bytes:
    stated = "" if length is None else f"content-length: {length}\r\n"
    return (
        f"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n{stated}{more}\r\n".encode()
    )


def read_all(connection: socket.socket) -> bytes:
    """What the service says until it closes the connection."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def say(service: RunningService, *pieces: bytes) -> bytes:
    with socket.create_connection(service.address, timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_all(connection)


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1]) if said else 0


def error_of(said: bytes) -> str:
    found: str = json.loads(said.split(b"\r\n\r\n", 1)[1])["error"]["code"]
    return found


def still_works(service: RunningService, noise: Noise) -> None:
    answer = httpx2.post(f"{service.url}/v1/predict", files={"images": noise()}, trust_env=False)
    assert answer.json()["results"][0]["status"] == "ok"
    text = httpx2.get(f"{service.url}/metrics", trust_env=False).text
    assert "mien_pending_requests 0.0" in text
    assert "mien_pending_bytes 0.0" in text


PART = b'--x\r\ncontent-disposition: form-data; name="images"\r\n\r\n'


@pytest.mark.parametrize(
    ("length", "sent", "statuses"),
    [
        ("10", PART + bytes(1000), {422, 400}),  # shorter than the body: the rest is not a request
        ("1000000000000", PART, {413}),
        ("9" * 40, PART, {413, 400}),
        ("5000", PART + bytes(10), {408}),  # longer than the body
        ("0", PART, {422, 400}),
        ("-1", PART, {400}),
        ("+5", PART, {400}),
        ("abc", PART, {400}),
        ("5, 6", PART, {400}),
        ("5\r\ncontent-length: 6", PART, {400}),
        ("5\r\ntransfer-encoding: chunked", b"zz\r\n", {400, 422}),
    ],
)
def test_a_length_that_is_not_that_of_the_body(
    strict: RunningService, noise: Noise, length: str, sent: bytes, statuses: set[int]
) -> None:
    assert status_of(say(strict, head(length), sent)) in statuses
    still_works(strict, noise)


def test_a_body_without_end(strict: RunningService, noise: Noise) -> None:
    """Chunks are counted as they come, and no more are read than a little over the limit."""
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    with socket.create_connection(strict.address, timeout=30) as connection:
        connection.sendall(head(None, more="transfer-encoding: chunked\r\n"))
        connection.sendall(b"%x\r\n%s\r\n" % (len(PART), PART))
        try:
            while sent < 2**26:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        said = read_all(connection)
    assert sent < 2**26
    assert status_of(said) in {413, 0}  # 0: the end of the connection came before the answer was read
    still_works(strict, noise)


def test_a_large_body_sees_its_answer(strict: RunningService, noise: Noise) -> None:
    for length in (2**18 + 1, 2**19):
        answer = httpx2.post(
            f"{strict.url}/v1/predict", files={"images": bytes(length)}, trust_env=False, timeout=30
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    still_works(strict, noise)


def test_a_sender_who_stops_or_crawls(strict: RunningService, noise: Noise) -> None:
    assert error_of(say(strict, head("5000"), PART)) == "slow_request"
    with socket.create_connection(strict.address, timeout=30) as connection:
        connection.sendall(head("5000") + PART)
        try:
            for _ in range(200):  # each piece is in time, and all together are not
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        said = read_all(connection)
    assert not said or error_of(said) == "slow_request"
    still_works(strict, noise)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/pre", b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "])
def test_a_header_that_does_not_end(strict: RunningService, sent: bytes) -> None:
    assert say(strict, sent) == b""


def test_a_header_that_does_not_end_after_a_request(strict: RunningService) -> None:
    first = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    said = say(strict, first, b"GET /healthz HTTP/1.1\r\nhost: ")
    assert said.count(b"HTTP/1.1 200") == 1


def test_a_header_that_is_too_long(strict: RunningService, noise: Noise) -> None:
    said = say(strict, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 2**20)
    assert status_of(said) in {400, 0}
    still_works(strict, noise)


def test_too_many_connections(strict: RunningService, noise: Noise) -> None:
    connections = [socket.create_connection(strict.address, timeout=30) for _ in range(30)]
    closed = 0
    for connection in connections:
        with connection:
            closed += b"503" in read_all(connection)  # the others are closed without a header
    assert closed >= 10
    still_works(strict, noise)


def test_a_client_that_leaves_while_it_sends(strict: RunningService, noise: Noise) -> None:
    for _ in range(5):
        with socket.create_connection(strict.address, timeout=30) as connection:
            connection.sendall(head("5000") + PART)
            # A reset instead of an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    still_works(strict, noise)


def test_all_bodies_together(strict: RunningService, noise: Noise) -> None:
    """Each is small enough alone; the one for which there is no memory left is refused, for now."""
    held = []
    try:
        for _ in range(2):
            connection = socket.create_connection(strict.address, timeout=30)
            held.append(connection)
            connection.sendall(head(str(2**18 - 10)) + PART + bytes(250_000))
        answer = httpx2.Response(0)
        while answer.status_code not in {413, 429}:  # until the bodies before have arrived
            answer = httpx2.post(
                f"{strict.url}/v1/predict", files={"images": bytes(100_000)}, trust_env=False, timeout=30
            )
            assert answer.status_code in {200, 429}
        assert answer.json()["error"]["code"] == "overloaded"
        assert answer.headers["retry-after"] == "1"
    finally:
        for connection in held:
            read_all(connection)
            connection.close()
    still_works(strict, noise)


def test_counts_of_images_boxes_fields_and_pixels(strict: RunningService, noise: Noise) -> None:
    url, image = f"{strict.url}/v1/predict", noise()

    def post(**content: object) -> httpx2.Response:
        return httpx2.post(url, trust_env=False, timeout=30, **content)  # type: ignore[arg-type]

    four = post(files=[("images", image)] * 4)
    assert (four.status_code, four.json()["error"]["field"]) == (422, "images")
    boxes = post(files={"images": image}, data={"boxes": "[[0,0,9,9],[0,0,9,9],[0,0,9,9]]"})
    assert (boxes.status_code, boxes.json()["error"]["field"]) == (422, "boxes.0")
    fields = post(files={"images": image}, data={"boxes": [""] * 101})
    assert (fields.status_code, fields.json()["error"]["field"]) == (422, "boxes")
    long = post(files={"images": image}, data={"boxes": "[" + " " * 70_000 + "]"})
    assert (long.status_code, long.json()["error"]["field"]) == (422, "boxes")
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        for size, status in (((200, 200), "ok"), ((201, 200), "failed")):
            found = post(files={"images": noise(1, size, kind)}).json()["results"][0]
            assert found["status"] == status, kind
            assert status == "ok" or "40,000" in found["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"images": ["AA=="], "boxes": [0] * 30_000}, "boxes.0"),
        ({"images": ["AA=="], "boxes": [[0] * 30_000]}, "boxes.0.0"),
        ({"images": [0] * 30_000}, "images.0"),
        ({"images": ["AA=="]} | {f"x{number}": 0 for number in range(10_000)}, "x0"),
    ],
)
def test_one_of_many_mistakes_is_looked_for(
    strict: RunningService, body: dict[str, object], field: str
) -> None:
    answer = httpx2.post(f"{strict.url}/v1/predict", json=body, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    with pytest.raises((ValidationError, RequestError)) as caught:
        ImagesRequest.model_validate_json(json.dumps(body))
    assert not isinstance(caught.value, ValidationError) or caught.value.error_count() == 1


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"--x",
        b"--x--\r\n",
        PART,
        PART + b"abc",
        PART + b"abc\r\n--x",
        b"--x\r\n\r\nabc\r\n--x--\r\n",
        b"--x\r\ncontent-disposition: form-data\r\n\r\nabc\r\n--x--\r\n",
        b'--x\r\ncontent-disposition: form-data; name="' + b"n" * 200 + b'"\r\n\r\nabc\r\n--x--\r\n',
        b"--x\r\nno colon\r\n\r\nabc\r\n--x--\r\n",
        b"--x\r\n" + b"a: b\r\n" * 5000 + b"\r\nabc\r\n--x--\r\n",
        b"--x\r\nx: " + b"y" * 100_000 + b"\r\n\r\nabc\r\n--x--\r\n",
        b'--x\r\ncontent-disposition: form-data; name="boxes"\r\n\r\n\xff\xfe\r\n--x--\r\n',
        b"--y\r\n\r\n--y--\r\n",
        PART * 3000,
    ],
)
def test_forms_that_are_malformed(strict: RunningService, form: bytes) -> None:
    answer = httpx2.post(
        f"{strict.url}/v1/predict", content=form, headers={"content-type": FORM}, trust_env=False, timeout=30
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=" + "b" * 500])
def test_boundaries_that_cannot_be(strict: RunningService, kind: str) -> None:
    answer = httpx2.post(
        f"{strict.url}/v1/predict", content=b"--x", headers={"content-type": kind}, trust_env=False
    )
    assert answer.status_code == 422
