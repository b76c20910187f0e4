"""Requests of all kinds, made from the OpenAPI document: no status 5xx, and every answer is as documented."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.factories.service import RunningService

from mien.predict.explain.explanation import ExplanationDict

Noise = Callable[..., bytes]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# How many cases of each kind, as shares of all. Explanations take long.
SHARES = {
    ("POST /v1/predict", GenerationMode.POSITIVE): 0.32,
    ("POST /v1/predict", GenerationMode.NEGATIVE): 0.28,
    ("POST /v1/describe", GenerationMode.POSITIVE): 0.18,
    ("POST /v1/describe", GenerationMode.NEGATIVE): 0.12,
    ("POST /v1/explain", GenerationMode.POSITIVE): 0.03,
    ("POST /v1/explain", GenerationMode.NEGATIVE): 0.09,
}


def send_cases(service: RunningService, total: int, image: bytes) -> Counter[tuple[str, str, int]]:
    """Sends so many requests; counts them by operation, mode and status."""
    schema: Any = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
    counts: Counter[tuple[str, str, int]] = Counter()
    for (label, mode), share in SHARES.items():
        send_mode(operations[label], mode, round(total * share), image, counts)
    for label in ("GET /v1/models", "GET /healthz", "GET /readyz", "GET /metrics"):
        case = operations[label].Case()
        response = case.call()
        assert response.status_code == 200
        case.validate_response(response, checks=CHECKS)
    return counts


def send_mode(
    operation: Any, mode: GenerationMode, count: int, image: bytes, counts: Counter[tuple[str, str, int]]
) -> None:
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_real=st.booleans())
    def send(case: Any, is_real: bool) -> None:
        if operation.label == "POST /v1/explain":
            make_short(case)
        if is_real:
            put_image(case, image)
        response = case.call(timeout=120)
        counts[operation.label, mode.value, response.status_code] += 1
        must_fail = mode is GenerationMode.NEGATIVE and case.media_type == "application/json" and not is_real
        case.validate_response(response, checks=[*CHECKS, negative_data_rejection] if must_fail else CHECKS)

    send()


def put_image(case: Any, image: bytes) -> None:
    """Makes the first image of a request one that can be read."""
    images = case.body.get("images") if isinstance(case.body, dict) else None
    if isinstance(images, list) and images:
        images[0] = base64.b64encode(image).decode() if case.media_type == "application/json" else image


def make_short(case: Any) -> None:
    """Makes an explanation short, unless the case says how long it is."""
    if isinstance(case.body, dict):
        is_json = case.media_type == "application/json"
        for name, value in {"cells": 2, "random_orders": 0, "counterfactuals": False}.items():
            case.body.setdefault(name, value if is_json else json.dumps(value))


def check_counts(counts: Counter[tuple[str, str, int]]) -> None:
    for label in ("POST /v1/predict", "POST /v1/describe", "POST /v1/explain"):
        statuses = {status for name, _, status in counts if name == label}
        assert {200, 422} <= statuses, counts
        assert statuses <= {200, 404, 413, 415, 422}, counts


def test_a_few_hundred_cases(describing_service: RunningService, noise: Noise) -> None:
    counts = send_cases(describing_service, 300, noise())
    assert sum(counts.values()) >= 250
    check_counts(counts)


@pytest.mark.slow
def test_ten_thousand_cases(describing_service: RunningService, noise: Noise) -> None:
    counts = send_cases(describing_service, 10_500, noise())
    print(counts)  # noqa: T201  shown with -s
    assert sum(counts.values()) >= 10_000
    check_counts(counts)


def test_the_document_is_complete(describing_service: RunningService) -> None:
    document = schemathesis.openapi.from_url(f"{describing_service.url}/openapi.json").raw_schema
    assert set(document["paths"]) == {
        "/v1/predict", "/v1/describe", "/v1/explain", "/v1/models", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    for path in ("/v1/predict", "/v1/describe", "/v1/explain"):
        post = document["paths"][path]["post"]
        content = post["requestBody"]["content"]
        assert set(content) == {"multipart/form-data", "application/json"}
        assert content["application/json"]["schema"]["examples"]
        assert set(content["multipart/form-data"]["schema"]["properties"]) == set(
            content["application/json"]["schema"]["properties"]
        )
        for status, response in post["responses"].items():
            assert response["description"], (path, status)
            if status != "200":
                assert response["content"]["application/json"]["example"]["error"]["code"]
    parts = document["components"]["schemas"]
    assert parts["ExplainAnswer"]["properties"]["explanation"]["$ref"].endswith("/ServedExplanation")
    keys = parts["ServedExplanation"]["properties"]
    assert set(keys) == set(ExplanationDict.__annotations__) - {"source"}
    assert keys["labels"]["items"]["$ref"].endswith("/LabelExplanationDict")
