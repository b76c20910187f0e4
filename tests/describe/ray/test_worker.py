"""A worker of a cluster, without a cluster: requests and errors survive the trip."""

import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.tiny_onnx import write_random_yolox

from mien.describe.cues.engine import CuesEngine
from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine
from mien.describe.open import open_engine
from mien.describe.ray.worker import Worker, pack
from mien.errors import ClusterError, EngineError, WeightsError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box

TRACED = "tests.factories.cluster_engines:TracedEngine"
MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F")


def copy_by_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  the way it travels


def make_worker(engine: str = "fake", **options: Any) -> Worker:
    open_in_worker = partial(open_engine, DescribeOptions(engine=engine, options=options), RunOptions())
    worker: Worker = copy_by_pickle(Worker(open_in_worker))
    return worker


def make_requests(*ids: str) -> list[Request]:
    return [Request(subject_id=name, images=(), prompt=f"Who is {name}?") for name in ids]


@pytest.mark.parametrize("mode", MODES)
def test_images_arrive_unchanged(mode: str) -> None:
    noise = Image.frombytes("L", (31, 17), os.urandom(31 * 17))
    image = noise.convert("I" if mode in ("I;16", "F") else "RGB").convert(mode)
    request = Request(subject_id="s", images=(image, noise), prompt="Who?")
    replies = make_worker().describe(copy_by_pickle(pack([request])))
    assert replies == FakeEngine().describe([request])


def test_boxes_arrive(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    engine = CuesEngine(str(write_random_yolox(tmp_path / "a.onnx")))
    image, box = Image.new("RGB", (64, 64)), Box(left=8, top=8, right=24, bottom=40)
    request = Request(subject_id="s", images=(image,), prompt="", boxes=(box,))
    replies = Worker(lambda: engine).describe(copy_by_pickle(pack([request])))
    assert replies == engine.describe([request])
    assert replies != engine.describe([replace(request, boxes=(None,))])


def test_errors_come_back_as_values_with_all_their_fields() -> None:
    worker = make_worker(poison=["s"], refuse=["t"], retryable=True)
    raised = worker.describe(pack(make_requests("s", "t")))
    assert isinstance(raised, EngineError)
    assert str(raised) == "the batch failed"
    replies = worker.describe(pack(make_requests("t", "u")))
    assert isinstance(replies, list)
    refused, reply = replies
    assert str(refused) == "subject 't' was refused"
    assert [reply] == FakeEngine().describe(make_requests("u"))
    for error in (raised, refused):
        copy = copy_by_pickle(error)
        assert (type(copy), str(copy)) == (EngineError, str(error))
        assert (copy.hint, copy.retryable) == (
            "remove the subject from refuse or poison in [describe.options]",
            True,
        )


def test_the_handshake_accepts_only_the_same_model(tmp_path: Path) -> None:
    signature = FakeEngine().signature
    assert make_worker().handshake(signature) is None
    refused = make_worker(num_words=3).handshake(signature)
    assert isinstance(refused, ClusterError)
    assert "engine fake on " in str(refused)
    assert "is not the requested one: its model or version differs" in str(refused)
    other_host = make_worker(TRACED, folder=str(tmp_path), home=1)
    assert isinstance(other_host.handshake({**signature, "weights": "ours"}), ClusterError)


def test_the_handshake_returns_the_error_of_an_engine_that_does_not_open() -> None:
    worker = Worker(partial(open_engine, DescribeOptions(model="./nowhere"), RunOptions()))
    error = worker.handshake(FakeEngine().signature)
    assert isinstance(error, WeightsError)
    assert "./nowhere" in str(error)


@pytest.mark.parametrize(("num_threads", "value"), [(3, "3"), (None, "7")])
def test_a_worker_limits_the_threads_of_the_model(
    monkeypatch: pytest.MonkeyPatch, num_threads: int | None, value: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    Worker(FakeEngine, num_threads)
    assert os.environ["OMP_NUM_THREADS"] == value


def test_a_worker_opens_its_engine_once_and_not_before_it_is_needed() -> None:
    opened: list[Engine] = []

    def open_counted() -> Engine:
        opened.append(FakeEngine())
        return opened[-1]

    worker = Worker(open_counted)
    assert opened == []
    assert worker.handshake(FakeEngine().signature) is None
    [reply] = worker.describe(pack(make_requests("s")))  # type: ignore[misc]
    assert isinstance(reply, Reply)
    assert len(opened) == 1
