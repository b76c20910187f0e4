"""Every endpoint of a service that really listens answers as the library would."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable

import httpx2
import pytest
from PIL import Image
from tests.factories.service import RunningService

import mien
from mien.predict.predictor import Predictor

Noise = Callable[..., bytes]


def test_a_form_is_predicted_as_by_the_library(
    http: httpx2.Client, predictor: Predictor, noise: Noise
) -> None:
    first, second = noise(1), noise(2, (80, 60), "JPEG")
    boxes = [[4, 4, 30, 40], [10, 2, 60, 44]]
    answer = http.post(
        "/v1/predict",
        files=[("images", ("a.png", first)), ("images", ("b.jpg", second))],
        data={"boxes": [json.dumps(boxes), ""]},
    )
    assert answer.status_code == 200
    document = answer.json()
    assert (document["model"], document["label_set"]) == ("tiny", "emotic")
    expected = [
        predictor(Image.open(io.BytesIO(first)), boxes=boxes),
        predictor(Image.open(io.BytesIO(second))),
    ]
    for found, results in zip(document["results"], expected, strict=True):
        assert (found["status"], found["error"]) == ("ok", None)
        assert (found["width"], found["height"]) == results.image.pixels.size  # type: ignore[union-attr]
        for person, wanted in zip(found["people"], results, strict=True):
            assert person["box"] == (None if wanted.box is None else list(wanted.box.as_tuple()))
            assert person["box_source"] == wanted.box_source
            assert person["scores"] == pytest.approx(wanted.scores, abs=1e-6)
            assert person["dimensions"] == pytest.approx(wanted.dimensions, abs=1e-6)


def test_json_says_the_same_as_a_form(http: httpx2.Client, noise: Noise) -> None:
    image = noise(3)
    form = http.post("/v1/predict", files={"images": image}, data={"boxes": "[[4, 4, 30, 40]]"})
    text = base64.b64encode(image).decode()
    document = http.post("/v1/predict", json={"images": [text], "boxes": [[[4, 4, 30, 40]]]})
    assert document.status_code == form.status_code == 200
    assert document.json() == form.json()


def test_an_image_that_fails_costs_the_others_nothing(http: httpx2.Client, noise: Noise) -> None:
    good = noise(4)
    files = [("images", good), ("images", b"this is text"), ("images", good)]
    boxes = ["[[4, 4, 30, 40], [900, 900, 950, 950]]", "", ""]
    results = http.post("/v1/predict", files=files, data={"boxes": boxes}).json()["results"]
    assert [item["status"] for item in results] == ["partial", "failed", "ok"]
    outside = results[0]["people"][1]
    assert (outside["status"], outside["error"]["code"], outside["scores"]) == ("failed", "box_error", {})
    assert results[1]["error"]["code"] == "image_error"
    assert "images[1]" in results[1]["error"]["message"]
    assert results[1]["error"]["hint"]
    assert results[1]["people"] == []


def test_explanations(http: httpx2.Client, predictor: Predictor, noise: Noise) -> None:
    image, boxes = noise(5), [[4, 4, 30, 40], [10, 2, 60, 44]]
    data = {
        "boxes": json.dumps(boxes),
        "person": "1",
        "labels": ["Fear", "Doubt/Confusion"],
        "cells": "3",
        "counterfactuals": "false",
        "random_orders": "1",
    }
    answer = http.post("/v1/explain", files={"images": image}, data=data)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["person"]["person"], document["person"]["box"]) == (1, boxes[1])
    explained = document["explanation"]
    assert [item["label"] for item in explained["labels"]] == ["Fear", "Doubt/Confusion"]
    assert "source" not in explained
    person = predictor(Image.open(io.BytesIO(image)), boxes=boxes)[1]
    assert explained["scores"] == pytest.approx(person.scores, abs=1e-6)


@pytest.mark.parametrize(
    ("data", "field", "code"),
    [
        ({"labels": "Fearr"}, "labels", "unknown_name_error"),
        ({"person": "7"}, "person", "invalid_request"),
        ({"person": "-1"}, "person", "invalid_request"),
        ({"cells": "1"}, "cells", "invalid_request"),
        ({"top": "many"}, "top", "invalid_request"),
        ({"random_orders": "33"}, "random_orders", "invalid_request"),
        ({"boxes": "[[1, 2, 3]]"}, "boxes.0.0", "invalid_request"),
        ({"boxes": "[[9, 9, 9, 9]]"}, "boxes.0.0", "box_error"),
        ({"boxes": "[[0, 0, 1e9999, 3]]"}, "boxes.0.0.2", "invalid_request"),
        ({"boxes": ["[]", "[]"]}, "boxes", "invalid_request"),
        ({"descriptions": "They smile."}, None, "usage_error"),
        ({"image": "x"}, "image", "invalid_request"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    http: httpx2.Client, noise: Noise, data: dict[str, str], field: str | None, code: str
) -> None:
    settings = {"counterfactuals": "false", "random_orders": "0", "cells": "2", **data}
    answer = http.post("/v1/explain", files={"images": noise()}, data=settings)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"], error["code"]) == (422, field, code)
    assert error["message"]
    assert error["hint"]


def test_an_image_that_cannot_be_explained_is_an_error(http: httpx2.Client) -> None:
    answer = http.post("/v1/explain", files={"images": b"text"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "images.0")


def test_a_model_without_words_describes_no_one(http: httpx2.Client, noise: Noise) -> None:
    answer = http.post("/v1/describe", files={"images": noise()})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_what_is_served(http: httpx2.Client, service: RunningService, predictor: Predictor) -> None:
    document = http.get("/v1/models").json()
    (card,) = document["models"]
    assert (card["id"], card["kind"], card["embedded"]) == ("tiny", "trained", True)
    assert tuple(card["labels"]) == predictor.trained.label_set.labels
    assert card["endpoints"] == ["predict", "explain"]
    assert document["limits"]["max_images"] == service.options.max_images
    assert "appear" in document["notice"]


def test_health_readiness_and_metrics(http: httpx2.Client, noise: Noise) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    http.post("/v1/predict", files={"images": noise(6)})
    http.get("/secret-name-of-a-person")
    text = http.get("/metrics").text
    assert 'mien_requests_total{endpoint="/v1/predict",status="200"}' in text
    assert 'mien_requests_total{endpoint="other",status="404"}' in text
    assert "mien_ready 1.0" in text
    assert "secret" not in text
    assert int(float(text.split("mien_batch_images_count ")[1].split()[0])) >= 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/predict", 405, "method_not_allowed"),
        ("GET", "/v1/predict/", 404, "not_found"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/predict", 405, "method_not_allowed"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
    ],
)
def test_other_paths_and_methods(http: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "text/plain"),
        (b"", ""),
        (b"x", "image/png"),
        (b"x", "multipart/mixed; boundary=x"),
        (b"x", "application/x-www-form-urlencoded"),
    ],
)
def test_other_bodies_are_refused(http: httpx2.Client, content: bytes, kind: str) -> None:
    answer = http.post("/v1/predict", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_compressed_bodies_are_refused(http: httpx2.Client) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = http.post("/v1/predict", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[" * 100_000, "body"),
        (b'{"images": []}', "images"),
        (b'{"images": "a"}', "images"),
        (b'{"images": [1]}', "images.0"),
        (b'{"images": ["http://127.0.0.1/a.jpg"]}', "images.0"),
        (b'{"images": ["AAAA"], "boxes": [[[0, 0, NaN, 1]]]}', None),
        (b'{"images": ["AAAA"], "boxes": [[["0", 0, 1, 1]]]}', "boxes.0.0.0"),
        (b'{"images": ["AAAA"], "boxes": [[[true, 0, 1, 1]]]}', "boxes.0.0.0"),
        (b'{"images": ["AAAA"], "path": "/etc/passwd"}', "path"),
        (b'{"images": ["' + b"AAAA" * 10 + b'"], "boxes": null, "url": "file:///etc/passwd"}', "url"),
        (b"\xff\xfe", "body"),
    ],
)
def test_json_that_is_wrong(http: httpx2.Client, body: bytes, field: str | None) -> None:
    answer = http.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_request")
    if field is not None:
        assert error["field"] == field
    assert "passwd" not in error["message"]


def test_request_ids(http: httpx2.Client) -> None:
    given = http.get("/v1/models", headers={"x-request-id": "job-17.a_b"})
    assert given.headers["x-request-id"] == "job-17.a_b"
    for odd in ("a b", "x" * 65, '"<script>', "n\u00e4me"):
        found = http.get("/v1/models", headers=[(b"x-request-id", odd.encode())]).headers["x-request-id"]
        assert found != odd
        assert len(found) == 32


def test_no_response_is_stored_or_read_by_other_sites(http: httpx2.Client) -> None:
    for path in ("/v1/models", "/nothing", "/metrics", "/openapi.json"):
        headers = http.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert not [name for name in headers if name.startswith("access-control")]
        assert "server" not in headers


def test_descriptions(
    describing_service: RunningService, describing_predictor: Predictor, noise: Noise
) -> None:
    image, boxes = noise(7), [[4, 4, 30, 40]]
    answer = httpx2.post(
        f"{describing_service.url}/v1/describe",
        files=[("images", image), ("images", b"text")],
        data={"boxes": [json.dumps(boxes), ""]},
        trust_env=False,
    ).json()
    (person,), failed = answer["results"][0]["people"], answer["results"][1]
    wanted = describing_predictor(Image.open(io.BytesIO(image)), boxes=boxes)[0].description
    assert wanted is not None
    assert (person["description"], person["prompt_id"]) == (wanted.text, wanted.prompt_id)
    assert (person["engine"], person["finish"]) == (wanted.engine, wanted.finish)
    assert "scores" not in person
    assert failed["error"]["code"] == "image_error"


def test_a_calibrated_run_says_what_it_is_sure_of(
    describing_service: RunningService, describing_predictor: Predictor, noise: Noise
) -> None:
    image = noise(8)
    wanted = describing_predictor(Image.open(io.BytesIO(image)))[0]
    assert wanted.prediction is not None
    with mien.Client(describing_service.url) as client:
        (model,) = client.models()
        assert (model.calibrated, model.endpoints) == (True, ("predict", "describe", "explain"))
        found = client.predict(image)[0]
        assert (found.above, found.is_sure) == (wanted.above, wanted.is_sure)
        assert (found.prediction_set, found.coverage) == (wanted.prediction_set, wanted.coverage)
        assert found.prediction is not None
        assert found.prediction.thresholds == pytest.approx(wanted.prediction.thresholds)
        assert found.description is not None
        assert wanted.description is not None
        assert found.description.text == wanted.description.text
        described = client.describe(image)[0].description
        assert described is not None
        assert (described.text, described.engine) == (wanted.description.text, wanted.description.engine)
        explained = client.explain(image, labels=["Fear"], random_orders=0, descriptions=["They smile."])
        assert explained.description == wanted.description.text
        assert explained["Fear"].words
        assert [item.kind for item in explained.counterfactuals][-1] == "description"


# --- Mistakes of a first request ---


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("image", "images"),
        ("Images", "images"),
        ("box", "boxes"),
        ("label", "labels"),
        ("photo", None),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_unknown_field_is_named_with_the_nearest_known_one(
    http: httpx2.Client, noise: Noise, name: str, guess: str | None, as_json: bool
) -> None:
    if as_json:
        answer = http.post("/v1/explain", json={name: [base64.b64encode(noise()).decode()]})
    else:
        answer = http.post("/v1/explain", files={name: ("a.jpg", noise())})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_request", name)
    assert error["message"] == f"unknown field {name!r}"
    if guess is None:
        assert error["hint"].startswith("valid fields: images, boxes")
    else:
        assert error["hint"].startswith(f"did you mean {guess!r}? valid fields: images, boxes")


@pytest.mark.parametrize(
    "place",
    [
        "https://example.org/a.jpg",
        "HTTP://example.org/a",
        "file:///etc/hostname",
        "data:image/png;base64," + "A" * 10_000,
        "/srv/photos/my.photo",
        "./photo",
        "~/photo",
        "C:\\photos\\a",
        "photo of a.JPG",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_address_or_a_path_is_named_as_such_and_not_opened(
    http: httpx2.Client, noise: Noise, place: str, as_json: bool
) -> None:
    good = noise()
    if as_json:
        answer = http.post("/v1/predict", json={"images": [base64.b64encode(good).decode(), place]})
    else:
        answer = http.post(
            "/v1/predict", files=[("images", ("a.png", good)), ("images", (None, place.encode()))]
        )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_request", "images.1")
    assert "an address or a path" in error["message"]
    assert "curl -F images=@photo.jpg" in error["hint"]


def test_a_file_that_holds_an_address_is_an_image_that_cannot_be_read(http: httpx2.Client) -> None:
    (item,) = http.post("/v1/predict", files={"images": ("a.jpg", b"https://a.b/c.jpg")}).json()["results"]
    assert (item["status"], item["error"]["code"]) == ("failed", "image_error")


def test_bytes_in_a_part_without_a_file_name_are_an_image(http: httpx2.Client, noise: Noise) -> None:
    (item,) = http.post("/v1/predict", files={"images": (None, noise())}).json()["results"]
    assert item["status"] == "ok"


@pytest.mark.parametrize(
    ("boxes", "field", "message"),
    [
        ("[9, 9, 20, 20]", "boxes.0.0", "a box is not a list of four numbers"),
        ("40,30,210,380", "boxes.0", "the field is not JSON"),
        ("7", "boxes.0", "the boxes of an image are not a list"),
        ("[[1, 2, 3]]", "boxes.0.0", "List should have at least 4 items"),
        (["[]", "[]"], "boxes", "boxes for 2 images, and 1 images"),
    ],
)
def test_boxes_of_another_form_get_the_right_one_as_a_hint(
    http: httpx2.Client, noise: Noise, boxes: str | list[str], field: str, message: str
) -> None:
    answer = http.post("/v1/predict", files={"images": noise()}, data={"boxes": boxes})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert message in error["message"]
    assert "[[left, top, right, bottom], ...]" in error["hint"]


def test_boxes_in_json_that_are_not_lists_get_the_same_hint(http: httpx2.Client, noise: Noise) -> None:
    image = base64.b64encode(noise()).decode()
    for boxes, message in ((7, "boxes are not a list"), ([[9, 9, 20, 20]], "a box is not a list")):
        error = http.post("/v1/predict", json={"images": [image], "boxes": boxes}).json()["error"]
        assert message in error["message"]
        assert "[[left, top, right, bottom], ...]" in error["hint"]
