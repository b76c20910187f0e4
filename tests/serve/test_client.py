"""The client gives what the library gives, and raises its errors."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from tests.factories.service import RunningService, running_service

import mien
from mien.errors import (
    BoxError,
    EngineDownError,
    EngineError,
    ImageError,
    UnknownNameError,
    UsageError,
)
from mien.predict.predictor import Predictor
from mien.predict.results import Results
from mien.predict.sources.image import BoxLike

Noise = Callable[..., bytes]


@pytest.fixture
def client(service: RunningService) -> Iterator[mien.Client]:
    with mien.Client(service.url, retries=0) as client:
        yield client


def scores_of(results: Results) -> list[dict[str, float]]:
    return [dict(person.scores) for person in results]


def test_every_kind_of_image(client: mien.Client, predictor: Predictor, noise: Noise, tmp_path: Path) -> None:
    content = noise(11)
    path = tmp_path / "photo of us.png"
    path.write_bytes(content)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    boxes: list[BoxLike] = [(4, 4, 30, 40), mien.Box(left=10, top=2, right=60, bottom=44)]
    wanted = predictor(path, boxes=boxes)
    for given in (path, str(path), content, image, np.asarray(image)):
        results = client.predict(given, boxes=boxes)
        assert isinstance(results, mien.Results)
        assert [person.box for person in results] == [person.box for person in wanted]
        for found, expected in zip(scores_of(results), scores_of(wanted), strict=True):
            assert found == pytest.approx(expected, abs=1e-6)
        assert results[0].dimensions == pytest.approx(wanted[0].dimensions, abs=1e-6)
    results = client.predict(path, boxes=boxes)
    assert results.source == str(path)
    assert results.annotate().size == predictor(path, boxes=boxes).annotate().size
    assert results.to_dict().keys() == wanted.to_dict().keys()
    assert results.to_dict()["people"][0].keys() == wanted.to_dict()["people"][0].keys()


def test_an_exif_orientation_of_pixels_is_kept(client: mien.Client, predictor: Predictor) -> None:
    image = Image.radial_gradient("L").convert("RGB").resize((60, 40))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    image.getexif()[0x0112] = 6
    wanted = predictor(image)
    assert scores_of(client.predict(image)) == [pytest.approx(found, abs=1e-6) for found in scores_of(wanted)]


def test_many_images_with_their_errors_in_place(client: mien.Client, noise: Noise) -> None:
    found = client.predict_many([noise(1), b"text", noise(2)], boxes=[[(4, 4, 30, 40)], None, None])
    assert [results.status for results in found] == ["ok", "failed", "ok"]
    assert isinstance(found[1].error, ImageError)
    assert found[1].error.hint
    assert (found[0][0].box_source, found[2][0].box_source) == ("given", "whole")
    assert client.predict_many([]) == []
    with pytest.raises(UsageError, match="boxes for 1 images, and 2 images"):
        client.predict_many([noise(1), noise(2)], boxes=[None])


def test_errors_are_those_of_the_library(client: mien.Client, noise: Noise, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="text file"):
        client.predict(b"this is text")
    with pytest.raises(BoxError, match="outside"):
        client.predict(noise(), boxes=[(900, 900, 950, 950)])
    with pytest.raises(BoxError, match="empty"):
        client.predict(noise(), boxes=[(9, 9, 9, 9)])
    with pytest.raises(ImageError, match="no image at"):
        client.predict(tmp_path / "missing.jpg")
    for address in ("https://example.org/a.jpg", Path("https://example.org/a.jpg")):
        with pytest.raises(ImageError, match=r"not opened: https://example\.org/a\.jpg") as refused:
            client.predict(address)
        assert "download the image first" in refused.value.hint
    with pytest.raises(ImageError, match="folder"):
        client.predict(tmp_path)
    with pytest.raises(UnknownNameError, match="Fearr") as caught:
        client.explain(noise(), labels=["Fearr"], counterfactuals=False, random_orders=0)
    assert "Fear" in caught.value.hint
    with pytest.raises(UsageError, match="writes no descriptions"):
        client.describe(noise())
    with pytest.raises(UsageError, match="more than the 16"):
        client.predict_many([noise()] * 17)


def test_explanations_are_those_of_the_library(
    client: mien.Client, predictor: Predictor, noise: Noise, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(noise(12))
    box = (4, 4, 40, 44)
    found = client.explain(path, boxes=[box], labels=["Fear"], counterfactuals=True, random_orders=1)
    wanted = predictor(path, boxes=[box])[0].explain(["Fear"])
    assert found.box == wanted.box
    assert found["Fear"].score == pytest.approx(wanted["Fear"].score, abs=1e-6)
    assert found["Fear"].occlusion is not None
    assert wanted["Fear"].occlusion is not None
    np.testing.assert_allclose(found["Fear"].occlusion.values, wanted["Fear"].occlusion.values, atol=1e-5)
    assert [item.kind for item in found.counterfactuals] == [item.kind for item in wanted.counterfactuals]
    assert found.to_dict().keys() == wanted.to_dict().keys()
    assert found["Fear"].to_dict().keys() == wanted["Fear"].to_dict().keys()
    assert found.draw("Fear").size == wanted.draw("Fear").size
    assert (tmp_path / "why" / "explanation.html") in found.save(tmp_path / "why")


def test_what_is_served(client: mien.Client) -> None:
    (model,) = client.models()
    assert (model.id, model.kind, model.label_set, model.endpoints) == (
        "tiny", "trained", "emotic", ("predict", "explain"),
    )  # fmt: skip


def test_no_service() -> None:
    with mien.Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(EngineDownError) as caught:
        client.models()
    assert "mien serve" in caught.value.hint
    with pytest.raises(UsageError, match="not an address"):
        mien.Client("http://[::1")


class _Other(http.server.BaseHTTPRequestHandler):
    """Another server: it redirects, and answers with what is not an answer."""

    answers: ClassVar[list[tuple[int, bytes, dict[str, str]]]] = []
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        status, content, headers = self.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def other() -> Iterator[tuple[str, type[_Other]]]:
    class Handler(_Other):
        answers: ClassVar[list[tuple[int, bytes, dict[str, str]]]] = []
        paths: ClassVar[list[str]] = []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", Handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>", {}),
        (200, b"[]", {}),
        (200, b'{"models": [{"id": 1}]}', {}),
        (500, b'{"detail": "x"}', {}),
        (307, b"", {"location": "/elsewhere"}),
        (400, b'{"error": "x"}', {}),
    ],
)
def test_what_is_not_a_service_is_an_error(
    other: tuple[str, type[_Other]], answer: tuple[int, bytes, dict[str, str]]
) -> None:
    url, handler = other
    handler.answers = [answer]
    with mien.Client(url, retries=0) as client, pytest.raises(EngineError, match="not one of mien serve"):
        client.models()
    assert handler.paths == ["/v1/models"]  # redirects are not followed


def test_a_busy_service_is_tried_again(other: tuple[str, type[_Other]]) -> None:
    url, handler = other
    busy = b'{"error": {"code": "overloaded", "message": "too many", "hint": "later"}, "request_id": "1"}'
    handler.answers = [
        (429, busy, {"retry-after": "0"}),
        (503, busy, {"retry-after": "0"}),
        (200, b'{"models": []}', {}),
    ]
    with mien.Client(url, retries=2) as client:
        assert client.models() == []
    handler.answers = [(429, busy, {"retry-after": "0"})] * 2
    with mien.Client(url, retries=1) as client, pytest.raises(EngineError, match="too many") as caught:
        client.models()
    assert caught.value.retryable


def test_tokens(predictor: Predictor, noise: Noise) -> None:
    token = "a" * 32
    with running_service(predictor, token=token) as running:
        with mien.Client(running.url, token=token) as client:
            assert len(client.predict(noise())) == 1
        for wrong in (None, "b" * 32, token[:-1], f"{token}a"):
            with (
                mien.Client(running.url, token=wrong, retries=0) as client,
                pytest.raises(UsageError, match="token is missing or wrong"),
            ):
                client.predict(noise())
