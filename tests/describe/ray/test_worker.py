"""What a worker of a cluster does with what it is handed, without a cluster."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine
from mien.describe.ray.worker import Worker, packed
from mien.errors import ClusterError, EngineError, WeightsError
from mien.recipe import DescribeOptions, RunOptions

TRACED = "tests.factories.cluster_engines:TracedEngine"
MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F")


def worker(engine: str = "fake", **options: Any) -> Worker:
    made = Worker(DescribeOptions(engine=engine, options=options), RunOptions(cluster="ray"))
    copy: Worker = pickle.loads(pickle.dumps(made))  # noqa: S301  as it travels
    return copy


@pytest.mark.parametrize("mode", MODES)
def test_pictures_arrive_as_they_are(mode: str) -> None:
    noise = Image.frombytes("L", (31, 17), os.urandom(31 * 17))
    picture = (
        noise.convert("RGB").convert(mode) if mode not in ("I;16", "F") else noise.convert("I").convert(mode)
    )
    request = Request(subject_id="s", images=(picture, noise), prompt="Who?")
    sent = pickle.loads(pickle.dumps(packed([request])))  # noqa: S301  as it travels
    assert worker().describe(sent) == FakeEngine().describe([request])


def test_errors_come_back_as_values_with_all_they_say() -> None:
    made = worker(poison=["s"], refuse=["t"], retryable=True)
    one, other = (Request(subject_id=name, images=(), prompt="Who?") for name in "st")
    failed = made.describe(packed([one, other]))
    assert isinstance(failed, EngineError)
    replies = made.describe(packed([other]))
    assert isinstance(replies, list)
    for error in (failed, replies[0]):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  as it travels
        assert (copy.hint, copy.retryable) == ("this engine was told to fail here", True)


def test_a_greeting_finds_another_model_or_none(tmp_path: Path) -> None:
    asked = FakeEngine().signature
    assert worker().greet(asked) is None
    other = worker(TRACED, folder=str(tmp_path), home=1).greet(asked)
    assert isinstance(other, ClusterError)
    assert "is not the one asked for" in str(other)
    missing = Worker(DescribeOptions(model="./nowhere"), RunOptions())
    assert isinstance(missing.greet(asked), WeightsError)


def test_a_worker_has_as_many_threads_as_run_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    Worker(DescribeOptions(), RunOptions(threads=3))
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_worker_asks_its_engine_and_no_cluster() -> None:
    request = Request(subject_id="s", images=(), prompt="Who?")
    [reply] = worker().describe(packed([request]))  # type: ignore[misc]
    assert isinstance(reply, Reply)
