"""The worker pool without Ray: workers die, hang, never start or start late, and every batch comes back."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from tests.factories.thread_backend import ThreadBackend

from mien.describe.engine import Request
from mien.describe.ray import worker_pool
from mien.describe.ray.worker_backend import WorkerLostError
from mien.describe.ray.worker_pool import WorkerPool
from mien.describe.retry import Backoff, describe_with_retries
from mien.errors import ClusterError, EngineError, MienError, WeightsError

Make = Callable[..., tuple[WorkerPool, ThreadBackend]]


def requests(count: int, *, prefix: str = "s") -> list[Request]:
    images = [Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(count)]
    return [
        Request(subject_id=f"{prefix}{number}", images=(image,), prompt="Who?")
        for number, image in enumerate(images)
    ]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """make(size=2, deadly=("s3",)): a pool without pauses, and its backend; closed after the test."""
    monkeypatch.setattr(Backoff, "pause", lambda self, num_failures: 0.001)
    monkeypatch.setattr(worker_pool, "_CAPACITY_INTERVAL", 0.01)
    pools: list[WorkerPool] = []

    def build(
        *, size: int | None = 2, calls: int = 1, timeout: float = 0.1, **options: Any
    ) -> tuple[WorkerPool, ThreadBackend]:
        backend = ThreadBackend(**options)
        pools.append(WorkerPool(backend, size=size, calls=calls, timeout=timeout))
        return pools[-1], backend

    yield build
    for pool in pools:
        pool.close()


def describe_all(pool: WorkerPool, batches: Sequence[Sequence[Request]], threads: int = 4) -> list[Any]:
    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(pool.describe, batches))


def in_batches(items: Sequence[Request], size: int = 4) -> list[Sequence[Request]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.mark.parametrize("calls", [1, 3])
def test_replies_equal_those_of_the_engine_in_order(make: Make, calls: int) -> None:
    pool, backend = make(size=3, calls=calls, refuse=("s7",))
    batches = in_batches(requests(40))
    replies = describe_all(pool, batches, threads=12)
    assert [list(map(str, batch)) for batch in replies] == [
        list(map(str, backend.engine.describe(batch))) for batch in batches
    ]
    assert len(backend.workers) == 3


def test_a_worker_gets_no_more_batches_at_once_than_calls_allow(make: Make) -> None:
    pool, backend = make(size=1, calls=2, delay=0.01)
    describe_all(pool, in_batches(requests(24)), threads=6)
    assert [worker.max_running for worker in backend.workers] == [2]


def test_nothing_is_lost_when_workers_die_again_and_again(make: Make) -> None:
    pool, backend = make(size=3, delay=0.01)
    batches = in_batches(requests(200))

    def describe_and_kill(number: int) -> Any:
        """Kills one worker in each round of five batches, while others work: no batch loses two of them."""
        if number % 5 == 2:
            alive = [worker for worker in backend.workers if not worker.is_dead.is_set()]
            max(alive, key=lambda worker: worker.num_running).is_dead.set()
        return pool.describe(batches[number])

    pool.open()
    replies: list[Any] = []
    with ThreadPoolExecutor(5) as executor:
        for start in range(0, len(batches), 5):
            replies += executor.map(describe_and_kill, range(start, start + 5))
    assert replies == [backend.engine.describe(batch) for batch in batches]
    assert sum(worker.is_dead.is_set() for worker in backend.workers) == len(batches) / 5
    assert len(backend.workers) > 5


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize(("failure", "num_losses"), [("deadly", 6), ("hanging", 3)])
def test_one_poison_item_is_isolated_and_no_other_item_fails(
    make: Make, failure: str, num_losses: int, calls: int
) -> None:
    pool, _ = make(size=2, calls=calls, **{failure: ("s5",)})
    batches = in_batches(requests(32), 8)
    with ThreadPoolExecutor(4) as executor:
        parts = executor.map(lambda batch: describe_with_retries(pool, batch), batches)  # type: ignore[arg-type]
        outcomes = [outcome for part in parts for outcome in part]
    failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome.result, EngineError)]
    assert failed == [5]
    assert f"{num_losses} workers were lost on it" in str(outcomes[5].result)
    assert outcomes[5].engine_failed


def test_the_next_batch_is_not_blamed_for_a_worker_that_died_while_idle(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "_IDLE", 0.0)
    pool, backend = make(size=1)
    for _ in range(4):
        assert pool.describe(requests(3)) == backend.engine.describe(requests(3))
        backend.workers[-1].is_dead.set()
    assert len(backend.calls) == 4  # no dead worker was called
    assert len(backend.workers) == 4


def test_a_batch_that_lost_its_worker_runs_alone_on_the_next(make: Make) -> None:
    pool, backend = make(size=1, calls=4, deadly=("poison0",), delay=0.005)
    batches = [*in_batches(requests(24)), requests(1, prefix="poison"), *in_batches(requests(24))]
    with ThreadPoolExecutor(6) as executor:
        futures = [executor.submit(pool.describe, batch) for batch in batches]
    errors = [error for future in futures if (error := future.exception())]
    assert [str(error) for error in errors] == ["6 workers were lost on it; the last one died"]
    assert "run out of memory" in getattr(errors[0], "hint", "")
    # At most the batches that ran next to it the first time died with it.
    others = [ids for ids in backend.calls if "poison0" not in ids]
    assert len(others) <= len(batches) - 1 + 3


def test_new_capacity_is_used(make: Make) -> None:
    pool, backend = make(size=None, capacity=1, delay=0.002)
    pool.describe(requests(1))
    assert pool.size == 1
    backend.num_workers = 3
    while pool.num_ready < 3:
        pool.describe(requests(1))
    assert pool.size == 3


def test_a_worker_that_starts_at_the_third_attempt_is_waited_for(make: Make) -> None:
    def on_start(number: int) -> None:
        if number < 2:
            raise WorkerLostError("died")

    pool, backend = make(size=1, on_start=on_start)
    assert pool.describe(requests(2)) == backend.engine.describe(requests(2))
    assert len(backend.workers) == 3


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (WorkerLostError("died of cold"), ClusterError, "no worker can start; the last one died of cold"),
        (WorkerLostError("hangs", hung=True), ClusterError, "no worker can start; the last one hangs"),
        (WeightsError("no model here"), WeightsError, "no model here"),
        (ValueError("a bug"), ClusterError, "the cluster failed: ValueError: a bug"),
    ],
)
def test_every_caller_gets_the_error_if_no_worker_can_start(
    make: Make, raised: Exception, kind: type[MienError], message: str
) -> None:
    def on_start(number: int) -> None:
        raise raised

    pool, _ = make(size=2, on_start=on_start)
    with ThreadPoolExecutor(3) as executor:
        errors = [executor.submit(pool.describe, requests(1)).exception() for _ in range(3)]
    assert [(type(error), str(error)) for error in errors] == [(kind, message)] * 3


def test_an_engine_that_kills_every_worker_ends_the_run_and_no_item_is_blamed(make: Make) -> None:
    pool, _ = make(size=2, deadly={f"s{number}" for number in range(64)})
    lost = "workers in a row were lost without a reply; the last one died"
    with pytest.raises(ClusterError, match=lost) as caught:
        describe_with_retries(pool, requests(64))  # type: ignore[arg-type]
    assert "run out of memory" in caught.value.hint


def test_the_engines_own_failure_is_raised_and_the_worker_stays(make: Make) -> None:
    pool, backend = make(size=1, poison=("s1",))
    for _ in range(3):
        with pytest.raises(EngineError, match="the batch failed"):
            pool.describe(requests(2))
    assert len(backend.workers) == 1


def test_every_caller_gets_the_error_of_a_backend_that_does_not_open(make: Make) -> None:
    pool, backend = make(capacity=0)
    with pytest.raises(ClusterError, match="no worker fits"):
        pool.open()
    with pytest.raises(ClusterError, match="no worker fits"):
        pool.describe(requests(1))
    assert backend.is_closed.wait(5)


def test_closing_stops_the_workers_and_fails_pending_calls(make: Make) -> None:
    pool, backend = make(size=1, hanging=("s0",), timeout=60)
    with ThreadPoolExecutor(2) as executor:
        pending = [executor.submit(pool.describe, requests(1)) for _ in range(2)]
        while not backend.calls:
            time.sleep(0.01)
        pool.close()
        errors = [future.exception() for future in pending]
    assert [(type(error), str(error)) for error in errors] == [(ClusterError, "the cluster was closed")] * 2
    assert all(worker.is_dead.is_set() for worker in backend.workers)
    assert backend.is_closed.is_set()
    with pytest.raises(ClusterError, match="was closed"):
        pool.describe(requests(1))
