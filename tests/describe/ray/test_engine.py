"""The cluster engine on Ray writes the texts of one process, even while workers die, hang or join."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.describe.engine import Engine, Request
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.open import open_engine
from mien.describe.ray.connection import connection
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import ClusterError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Description, Subject

pytest.importorskip("ray")

TRACED = "tests.factories.cluster_engines:TracedEngine"
REQUEST = Request(subject_id="s", images=(Image.new("RGB", (4, 4)),), prompt="Who?")
Make = Callable[..., Engine]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One Ray for all tests of this module, with capacity for four workers even on fewer cores."""
    run = RunOptions(cluster="ray", actors=4)
    handler = signal.getsignal(signal.SIGTERM)
    connection.acquire(run)
    assert signal.getsignal(signal.SIGTERM) is handler
    yield
    connection.release()


@pytest.fixture
def people(tmp_path: Path) -> list[Subject]:
    """Two hundred people in ten images."""
    made = []
    for image in range(10):
        path = tmp_path / f"{image}.png"
        Image.new("RGB", (80, 60), (25 * image, 9, 9)).save(path)
        boxes = [Box(left=2 * n, top=n, right=2 * n + 20, bottom=n + 20) for n in range(20)]
        made += [Subject.still(f"p{image}-{n}", path, box) for n, box in enumerate(boxes)]
    return made


@pytest.fixture
def make() -> Iterator[Make]:
    """make(TRACED, actors=2, folder=...): an engine in that many workers, which end after the test."""
    made: list[Engine] = []

    def build(engine: str, *, actors: int | None = 2, timeout: float = 60.0, **options: Any) -> Engine:
        run = RunOptions(cluster="ray", actors=actors, cluster_timeout=timeout)
        made.append(open_engine(DescribeOptions(engine=engine, options=options), run))
        return made[-1]

    yield build
    for engine in made:
        engine.close()


def describe_into(
    subjects: list[Subject], engine: Engine, path: Path, request_options: dict[str, Any]
) -> list[Description]:
    with Store(path) as store:
        summary = describe(subjects, RequestBuilder(engine=engine, **request_options), store, batch_size=4)
        assert summary.done + summary.failed == len(subjects)
        return list(store)


def describe_in_process(
    subjects: list[Subject], folder: Path, request_options: dict[str, Any]
) -> list[Description]:
    """What the same engine writes in this process."""
    engine = open_engine(DescribeOptions(engine=TRACED, options={"folder": str(folder)}), RunOptions())
    return describe_into(subjects, engine, folder / "alone.sqlite", request_options)


@contextmanager
def killing(folder: Path, seconds: float) -> Iterator[list[int]]:
    """Kills a worker that has answered every few seconds; yields the ids of the killed processes."""
    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(seconds):
            pids = {int(file.stem) for file in folder.glob("*.pid")} - {os.getpid(), *killed}
            if pids:
                killed.append(random.choice(sorted(pids)))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def test_the_texts_equal_those_of_one_process(
    people: list[Subject], make: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    expected = describe_in_process(people, tmp_path, request_options)
    assert (
        describe_into(people, make(TRACED, folder=str(tmp_path)), tmp_path / "ray.sqlite", request_options)
        == expected
    )
    assert len({item.text for item in expected}) == 200
    # This process and its workers: on a busy machine one worker may finish before the other is up.
    assert 2 <= len(list(tmp_path.glob("*.pid"))) <= 1 + 2
    engine = make(TRACED, actors=1, folder=str(tmp_path), faulty=["s"])
    with pytest.raises(ValueError, match="a bug at s"):
        engine.describe([REQUEST])


@pytest.mark.slow
def test_a_worker_that_hangs_or_dies_once_is_replaced(
    people: list[Subject], make: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    ends: dict[str, Any] = {"hanging": ["p0-1"], "deadly": ["p3-2"], "once": True}
    engine = make(TRACED, timeout=2.0, folder=str(tmp_path), **ends)
    assert describe_into(people, engine, tmp_path / "ray.sqlite", request_options) == describe_in_process(
        people, tmp_path, request_options
    )
    assert {"p0-1.once", "p3-2.once"} < {file.name for file in tmp_path.glob("*.once")}


@pytest.mark.slow
def test_a_poison_item_is_the_only_failure(
    people: list[Subject], make: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    expected, path = describe_in_process(people, tmp_path, request_options), tmp_path / "ray.sqlite"
    engine = make(TRACED, folder=str(tmp_path), deadly=["p2-7"])
    assert describe_into(people, engine, path, request_options) == [
        item for item in expected if item.subject_id != "p2-7"
    ]
    with Store(path) as store:
        [failure] = store.failures()
    assert failure.subject_id == "p2-7"
    assert "6 workers were lost on it; the last one" in failure.error


@pytest.mark.slow
def test_a_frozen_worker_is_replaced(make: Make, tmp_path: Path) -> None:
    engine = make(TRACED, actors=4, timeout=2.0, folder=str(tmp_path))
    engine.describe([REQUEST])
    [file] = tmp_path.glob("*.pid")
    os.kill(int(file.stem), signal.SIGSTOP)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(engine.describe, [[REQUEST]] * 16))
    assert found == [FakeEngine().describe([REQUEST])] * 16


@pytest.mark.slow
def test_another_model_on_a_node_is_refused(make: Make, tmp_path: Path) -> None:
    engine = make(TRACED, actors=1, folder=str(tmp_path), home=os.getpid())
    with pytest.raises(ClusterError, match="is not the requested one: its model or version differs"):
        engine.describe([REQUEST])


def test_resources_that_no_machine_has_are_an_error_at_once() -> None:
    run = RunOptions(cluster="ray", actors=1, gpus_per_actor=99)
    engine = open_engine(DescribeOptions(engine="fake"), run)
    with pytest.raises(ClusterError, match="no node of the cluster has the 1 CPUs and 99 GPUs"):
        engine.describe([REQUEST])


def test_without_a_number_as_many_workers_start_as_fit() -> None:
    run = RunOptions(cluster="ray", cpus_per_actor=2.0)
    engine = open_engine(DescribeOptions(engine="fake"), run)
    assert engine.calls_at_once == 2 * (max(os.cpu_count() or 1, 4) // 2)
    engine.close()


def test_it_has_the_identity_of_the_inner_engine_and_starts_nothing_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if Ray were not installed
    options, run = DescribeOptions(), RunOptions(cluster="ray", actors=3)
    inner, engine = open_engine(options, RunOptions()), open_engine(options, run)
    assert (engine.name, engine.image_size) == (inner.name, inner.image_size)
    assert engine.signature == inner.signature
    assert engine.calls_at_once == 6
    assert list(engine.describe([])) == []


@pytest.mark.parametrize(
    "use", [lambda engine: engine.describe([REQUEST]), lambda engine: engine.calls_at_once]
)
def test_without_ray_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[Engine], Any]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = open_engine(DescribeOptions(engine="fake"), RunOptions(cluster="ray"))
    with pytest.raises(ClusterError, match="needs the library Ray") as raised:
        use(engine)
    assert "mien[ray]" in raised.value.hint


@pytest.mark.slow
def test_killing_workers_repeatedly_changes_nothing(
    people: list[Subject], make: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    engine = make(TRACED, actors=4, delay=0.3, folder=str(tmp_path))
    with killing(tmp_path, 2.0) as killed:
        found = describe_into(people, engine, tmp_path / "ray.sqlite", request_options)
    assert found == describe_in_process(people, tmp_path, request_options)
    assert len(killed) >= 3
