"""Too many requests, late answers, clients that leave, and models that fail."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from tests.factories.service import RunningService, running_service

from mien.errors import EngineDownError, MienError
from mien.predict.predictor import Predictor
from mien.types import Prediction, Subject

Noise = Callable[..., bytes]


class Gate:
    """Holds a real predictor back, and notes who is read."""

    def __init__(self, predictor: Predictor) -> None:
        self._each = predictor.each
        self.may_go_on = threading.Event()
        self.began = threading.Event()
        self.sizes: list[tuple[int, int]] = []  # of the images that were read
        self.error: Callable[[Subject], Exception | None] = lambda subject: None

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        everyone = list(subjects)
        for subject in everyone:
            pixels = subject.images[0].pixels
            assert pixels is not None
            if pixels.size != (320, 240):  # the image that warms the model up
                self.began.set()
                self.may_go_on.wait()
                self.sizes.append(pixels.size)
            error = self.error(subject)
            if error is not None:
                raise error
        yield from self._each(everyone, batch_size=batch_size)


@pytest.fixture
def gate(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate(predictor)
    monkeypatch.setattr(predictor, "each", made.each)
    return made


@contextmanager
def gated_service(predictor: Predictor, gate: Gate, **settings: Any) -> Iterator[RunningService]:
    with running_service(predictor, **settings) as running:
        try:
            yield running
        finally:
            gate.may_go_on.set()


def post(service: RunningService, *images: bytes) -> httpx2.Response:
    files = [("images", image) for image in images]
    return httpx2.post(f"{service.url}/v1/predict", files=files, timeout=60, trust_env=False)


def explain(service: RunningService, image: bytes, data: dict[str, str]) -> httpx2.Response:
    url = f"{service.url}/v1/explain"
    return httpx2.post(url, files={"images": image}, data=data, timeout=60, trust_env=False)


def metrics(service: RunningService) -> str:
    return httpx2.get(f"{service.url}/metrics", trust_env=False).text


def wait_for(service: RunningService, line: str) -> None:
    while line not in metrics(service):
        pass


def test_ten_times_too_many_requests(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    with (
        gated_service(predictor, gate, max_pending=4, max_wait=0.0) as service,
        ThreadPoolExecutor(40) as pool,
    ):
        futures = [pool.submit(post, service, noise(number)) for number in range(40)]
        refused: list[Future[httpx2.Response]] = []
        while len(refused) < 36:
            refused = [future for future in futures if future.done()]
        assert "mien_pending_requests 4.0" in metrics(service)
        assert httpx2.get(f"{service.url}/healthz", trust_env=False).status_code == 200
        for future in refused:
            answer = future.result()
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        gate.may_go_on.set()
        statuses = Counter(future.result().status_code for future in futures)
        assert statuses == {200: 4, 429: 36}
        # It recovers at once.
        assert [post(service, noise(number)).status_code for number in range(8)] == [200] * 8
        assert "mien_pending_requests 0.0" in metrics(service)
        assert "mien_pending_bytes 0.0" in metrics(service)
        assert 'mien_refused_total{code="overloaded"} 36.0' in metrics(service)


def test_requests_that_wait_share_a_batch(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    with gated_service(predictor, gate, max_wait=0.0) as service, ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, service, noise(0))
        gate.began.wait()
        others = [pool.submit(post, service, noise(number), noise(number)) for number in range(1, 5)]
        wait_for(service, "mien_waiting_images 8.0")
        gate.may_go_on.set()
        alone = [post(service, noise(number)).json()["results"] for number in range(5)]
        for number, future in enumerate([first, *others]):
            for item in future.result().json()["results"]:
                (person,), (wanted,) = item["people"], alone[number][0]["people"]
                assert person["scores"] == pytest.approx(wanted["scores"], abs=1e-5)
        wait_for(service, "mien_batch_images_sum 14.0")  # a batch is counted after it is answered
        text = metrics(service)
        assert 'mien_batch_images_bucket{le="1.0"} 6.0' in text
        assert "mien_batch_images_count 7.0" in text


def test_an_answer_that_is_late(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    with gated_service(predictor, gate, deadline=0.5) as service, ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(post, service, noise(1, (50, 41)))]
        gate.began.wait()
        futures += [pool.submit(post, service, noise(1, (50, number))) for number in (42, 43)]
        for future in futures:
            answer = future.result()
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
            assert int(answer.headers["retry-after"]) > 0
        gate.may_go_on.set()
        assert post(service, noise(2)).status_code in {200, 504}  # a busy machine is not a failure
        # What was not being read when it became late is not read at all.
        assert [size for size in gate.sizes if size[0] == 50] == [(50, 41)]


def test_a_client_that_leaves_is_not_read(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    with gated_service(predictor, gate, max_wait=0.0) as service, ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, service, noise(0, (51, 41)))
        gate.began.wait()
        request = httpx2.Request("POST", f"{service.url}/v1/predict", files={"images": noise(1, (52, 42))})
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection(service.address) as leaving:
            leaving.sendall(f"POST /v1/predict HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            wait_for(service, "mien_pending_requests 2.0")
        wait_for(service, "mien_clients_left_total 1.0")
        assert "mien_pending_requests 1.0" in metrics(service)
        gate.may_go_on.set()
        assert first.result().status_code == 200
        assert post(service, noise(2, (53, 43))).status_code == 200
        assert gate.sizes == [(51, 41), (53, 43)]


def test_a_request_that_the_model_cannot_take(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    gate.may_go_on.set()
    with gated_service(predictor, gate) as service:
        gate.error = lambda subject: (
            RuntimeError("secret path") if subject.images[0].pixels.size == (66, 66) else None  # type: ignore[union-attr]
        )
        answer = post(service, noise(0, (66, 66)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert "secret" not in answer.text
        assert post(service, noise(0)).status_code == 200
        gate.error = lambda subject: EngineDownError("no server at http://10.0.0.7")
        answer = post(service, noise(0))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_down_error")
        assert "10.0.0.7" not in answer.text
        assert answer.headers["retry-after"]


def test_the_health_of_a_model_that_fails_in_a_row(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    gate.may_go_on.set()
    with gated_service(predictor, gate) as service, httpx2.Client(trust_env=False, timeout=60) as client:

        def health() -> int:
            return client.get(f"{service.url}/healthz").status_code

        gate.error = lambda subject: RuntimeError("CUDA error: device-side assert triggered")
        for _ in range(3):
            assert post(service, noise()).status_code == 500
        assert health() == 200
        for _ in range(3):
            assert post(service, noise()).status_code == 500
        answer = client.get(f"{service.url}/healthz")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_down_error")
        assert "CUDA" not in answer.text
        gate.error = lambda subject: None
        for _ in range(2):  # the second one is read after the first one was counted
            assert post(service, noise()).status_code == 200
        assert health() == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_model_whose_thread_has_ended(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    def end(subject: Subject) -> None:
        raise SystemExit  # not an Exception, so that it is not caught

    with (
        gated_service(predictor, gate, deadline=0.5) as service,
        httpx2.Client(base_url=service.url, trust_env=False, timeout=60) as client,
    ):
        assert client.get("/healthz").status_code == 200
        gate.error = end
        gate.may_go_on.set()
        while client.get("/healthz").status_code == 200:  # a request may be late before the thread has it
            assert post(service, noise()).status_code in (503, 504)
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 503
        assert post(service, noise()).status_code == 503


def test_explanations_have_a_limit_of_their_own(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    quick = {"counterfactuals": "false", "random_orders": "0", "cells": "2"}
    with gated_service(predictor, gate, max_explaining=1) as service, ThreadPoolExecutor(4) as pool:
        first = pool.submit(explain, service, noise(), quick)
        gate.began.wait()
        assert explain(service, noise(), quick).status_code == 429
        other = pool.submit(post, service, noise())
        wait_for(service, "mien_pending_requests 2.0")
        gate.may_go_on.set()
        assert (first.result().status_code, other.result().status_code) == (200, 200)


class Readings:
    """Counts what an explanation reads, and holds it at the third reading."""

    def __init__(self, predictor: Predictor) -> None:
        self._scores = predictor.scores
        self.may_go_on = threading.Event()
        self.began = threading.Event()
        self.count = 0

    def scores(self, output: Any) -> Any:
        self.count += 1
        if self.count == 3:
            self.began.set()
            self.may_go_on.wait()
        return self._scores(output)


@pytest.fixture
def readings(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Readings]:
    made = Readings(predictor)
    monkeypatch.setattr(predictor, "scores", made.scores)
    yield made
    made.may_go_on.set()


EXPLAINED = {"cells": "4", "random_orders": "2"}


def test_an_explanation_reads_the_model_many_times(
    predictor: Predictor, readings: Readings, noise: Noise
) -> None:
    readings.may_go_on.set()
    with running_service(predictor) as service:
        answer = explain(service, noise(), EXPLAINED)
        assert answer.status_code == 200
    assert readings.count > 10


def test_an_explanation_ends_when_its_client_leaves(
    predictor: Predictor, readings: Readings, noise: Noise
) -> None:
    with running_service(predictor, max_wait=0.0) as service:
        request = httpx2.Request(
            "POST", f"{service.url}/v1/explain", files={"images": noise()}, data=EXPLAINED
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection(service.address) as leaving:
            leaving.sendall(f"POST /v1/explain HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            readings.began.wait()
        wait_for(service, "mien_clients_left_total 1.0")
        readings.may_go_on.set()
        assert post(service, noise()).status_code == 200  # by the same thread, so after the explanation
        assert readings.count == 3


def test_an_explanation_ends_when_it_is_late(predictor: Predictor, readings: Readings, noise: Noise) -> None:
    with running_service(predictor, max_wait=0.0, deadline=2.0) as service:
        answer = explain(service, noise(), EXPLAINED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
        readings.may_go_on.set()
        while post(service, noise()).status_code != 200:  # a busy machine may be late again
            pass
        assert readings.count <= 3


def test_nothing_is_answered_before_the_model_is_warm(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    warm, started = threading.Event(), threading.Event()

    def wait(subject: Subject) -> None:
        started.set()
        warm.wait()

    gate.error = wait
    gate.may_go_on.set()
    with running_service(predictor, wait=False) as service:
        started.wait()
        try:
            ready = httpx2.get(f"{service.url}/readyz", trust_env=False)
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
            assert httpx2.get(f"{service.url}/healthz", trust_env=False).status_code == 200
            answer = post(service, noise())
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        finally:
            warm.set()
        wait_for(service, "mien_ready 1.0")
        assert post(service, noise()).status_code == 200


def test_a_model_that_cannot_be_loaded_ends_the_service(predictor: Predictor, gate: Gate) -> None:
    gate.error = lambda subject: EngineDownError("no such device")
    with pytest.raises(EngineDownError, match="no such device"), running_service(predictor):
        pytest.fail("it is not ready")


def test_a_service_that_drains_takes_nothing_new(predictor: Predictor, gate: Gate, noise: Noise) -> None:
    with gated_service(predictor, gate) as service, ThreadPoolExecutor(4) as pool:
        accepted = pool.submit(post, service, noise())
        gate.began.wait()
        with httpx2.Client(base_url=service.url, trust_env=False) as client:
            assert client.get("/readyz").status_code == 200
            service.stop.set()
            while client.get("/readyz").status_code == 200:
                pass
            answer = client.post("/v1/predict", files={"images": noise()})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
            assert "shutting down" in answer.json()["error"]["message"]
        gate.may_go_on.set()
        assert accepted.result().status_code == 200
        service.thread.join()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{service.url}/healthz", trust_env=False)
