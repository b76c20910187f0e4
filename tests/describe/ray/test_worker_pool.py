"""A crew without Ray: workers that die, hang, never come or come late, and batches that come back whole."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from mien.describe.backoff import Backoff
from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.ray import worker_pool as crew_module
from mien.describe.ray.worker_backend import Host, WorkerLostError
from mien.describe.ray.worker_pool import Crew
from mien.describe.retry import ask
from mien.errors import ClusterError, EngineError, MienError, WeightsError

Make = Callable[..., tuple[Crew, "Yard"]]


class Hand:
    """A worker of the yard."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.at_once = self.most_at_once = 0


class Yard(Host):
    """Workers in threads. `deadly` and `hanging` subjects take theirs along; `starts` is called for each."""

    def __init__(self, **options: Any) -> None:
        self.deadly: set[str] = set(options.pop("deadly", ()))
        self.hanging: set[str] = set(options.pop("hanging", ()))
        self.starts: Callable[[int], None] = options.pop("starts", lambda number: None)
        self.rooms = options.pop("rooms", 2)
        self.engine = FakeEngine(FakeOptions(**options))
        self.hands: list[Hand] = []
        self.asked: list[list[str]] = []
        self.lock = threading.Lock()
        self.closed = threading.Event()

    def open(self) -> None:
        if not self.rooms:
            raise ClusterError("there is no yard")

    def room(self) -> int:
        return int(self.rooms)

    def start(self) -> Hand:
        with self.lock:
            self.hands.append(Hand())
            return self.hands[-1]

    def greet(self, worker: Hand, timeout: float) -> None:
        if worker.gone.is_set():
            raise WorkerLostError("died in its sleep")
        self.starts(self.hands.index(worker))

    def ask(self, worker: Hand, requests: Sequence[Request], timeout: float) -> Sequence[Reply | EngineError]:
        ids = [request.subject_id for request in requests]
        with self.lock:
            self.asked.append(ids)
            worker.at_once += 1
            worker.most_at_once = max(worker.most_at_once, worker.at_once)
        if self.deadly.intersection(ids):
            worker.gone.set()
        if self.hanging.intersection(ids) and not worker.gone.wait(timeout):
            raise WorkerLostError("hangs", hung=True)
        if worker.gone.wait(self.engine.options.delay):
            raise WorkerLostError("died")
        with self.lock:
            worker.at_once -= 1
        return self.engine.describe(requests)

    def dismiss(self, worker: Hand) -> None:
        worker.gone.set()

    def close(self) -> None:
        self.closed.set()


def requests(count: int, *, prefix: str = "s") -> list[Request]:
    images = [Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(count)]
    return [
        Request(subject_id=f"{prefix}{number}", images=(image,), prompt="Who?")
        for number, image in enumerate(images)
    ]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """make(size=2, deadly=("s3",)): a crew that waits for nothing, and its yard; closed at the end."""
    monkeypatch.setattr(Backoff, "pause", lambda self, failures: 0.001)
    monkeypatch.setattr(crew_module, "_LOOK_AGAIN", 0.01)
    made: list[Crew] = []

    def build(
        *, size: int | None = 2, calls: int = 1, timeout: float = 0.1, **yard: Any
    ) -> tuple[Crew, Yard]:
        host = Yard(**yard)
        made.append(Crew(host, size=size, calls=calls, timeout=timeout))
        return made[-1], host

    yield build
    for crew in made:
        crew.close()


def described(crew: Crew, batches: Sequence[Sequence[Request]], threads: int = 4) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(crew.describe, batches))


def in_batches(items: Sequence[Request], size: int = 4) -> list[Sequence[Request]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.mark.parametrize("calls", [1, 3])
def test_replies_are_those_of_the_engine_in_order(make: Make, calls: int) -> None:
    crew, yard = make(size=3, calls=calls, refuse=("s7",))
    batches = in_batches(requests(40))
    found = described(crew, batches, threads=12)
    assert [list(map(str, part)) for part in found] == [
        list(map(str, yard.engine.describe(part))) for part in batches
    ]
    assert len(yard.hands) == 3


def test_a_worker_has_no_more_at_once_than_its_engine_likes(make: Make) -> None:
    crew, yard = make(size=1, calls=2, delay=0.01)
    described(crew, in_batches(requests(24)), threads=6)
    assert [hand.most_at_once for hand in yard.hands] == [2]


def test_workers_that_die_now_and_then_lose_nothing(make: Make) -> None:
    crew, yard = make(size=3, delay=0.01)
    over = threading.Event()

    def reap() -> None:
        while not over.wait(0.03):
            yard.hands[-1].gone.set()

    reaper = threading.Thread(target=reap)
    crew.open()
    reaper.start()
    batches = in_batches(requests(200))
    found = described(crew, batches)
    over.set()
    reaper.join()
    assert found == [yard.engine.describe(part) for part in batches]
    assert len(yard.hands) > 5


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize(("how", "losses"), [("deadly", 6), ("hanging", 3)])
def test_one_poison_item_is_found_and_nothing_else_is_blamed(
    make: Make, how: str, losses: int, calls: int
) -> None:
    crew, _ = make(size=2, calls=calls, **{how: ("s5",)})
    batches = in_batches(requests(32), 8)
    with ThreadPoolExecutor(4) as pool:
        outcomes = [one for part in pool.map(lambda batch: ask(crew, batch), batches) for one in part]  # type: ignore[arg-type]
    failed = [number for number, one in enumerate(outcomes) if isinstance(one.result, EngineError)]
    assert failed == [5]
    assert f"took {losses} workers down" in str(outcomes[5].result)
    assert outcomes[5].engine_failed


def test_a_worker_that_died_while_it_had_nothing_to_do_is_not_the_next_batch_s_doing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "_QUIET", 0.0)
    crew, yard = make(size=1)
    for _ in range(4):
        assert len(crew.describe(requests(3))) == 3
        yard.hands[-1].gone.set()
    assert len(yard.asked) == 4  # nobody dead was asked
    assert len(yard.hands) == 4


def test_a_batch_that_lost_its_worker_runs_alone_on_the_next(make: Make) -> None:
    crew, yard = make(size=1, calls=4, deadly=("poison0",), delay=0.005)
    batches = [*in_batches(requests(24)), requests(1, prefix="poison"), *in_batches(requests(24))]
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(crew.describe, batch) for batch in batches]
    errors = [future.exception() for future in futures]
    assert [str(error)[:22] for error in errors if error] == ["took 6 workers down; t"]
    # With it died, at most, those that were there at its first time.
    again = [ids for ids in yard.asked if "poison0" not in ids]
    assert len(again) <= len(batches) - 1 + 3


def test_new_room_is_used(make: Make) -> None:
    crew, yard = make(size=None, rooms=1, delay=0.002)
    crew.describe(requests(1))
    assert crew.size == 1
    yard.rooms = 3
    while crew.num_live < 3:
        crew.describe(requests(1))
    assert crew.size == 3


def test_a_worker_that_starts_at_the_third_try_is_waited_for(make: Make) -> None:
    def starts(number: int) -> None:
        if number < 2:
            raise WorkerLostError("died")

    crew, yard = make(size=1, starts=starts)
    assert len(crew.describe(requests(2))) == 2
    assert len(yard.hands) == 3


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (WorkerLostError("died of cold"), ClusterError, "no worker can start; the last one died of cold"),
        (WorkerLostError("hangs", hung=True), ClusterError, "no worker can start; the last one hangs"),
        (WeightsError("no model here"), WeightsError, "no model here"),
        (ValueError("a defect"), ClusterError, "the cluster failed: ValueError: a defect"),
    ],
)
def test_when_nobody_can_start_everybody_hears_of_it(
    make: Make, raised: Exception, kind: type[MienError], said: str
) -> None:
    def starts(number: int) -> None:
        raise raised

    crew, _ = make(size=2, starts=starts)
    with ThreadPoolExecutor(3) as pool:
        errors = [pool.submit(crew.describe, requests(1)).exception() for _ in range(3)]
    assert [(type(error), str(error)) for error in errors] == [(kind, said)] * 3


def test_an_engine_that_kills_every_worker_ends_the_run_and_blames_no_item(make: Make) -> None:
    crew, _ = make(size=2, deadly={f"s{number}" for number in range(64)})
    with pytest.raises(ClusterError, match="workers in a row were lost without an answer; the last one died"):
        ask(crew, requests(64))  # type: ignore[arg-type]


def test_the_engine_s_own_failure_passes_and_the_worker_stays(make: Make) -> None:
    crew, yard = make(size=1, poison=("s1",))
    for _ in range(3):
        with pytest.raises(EngineError, match="the batch failed"):
            crew.describe(requests(2))
    assert len(yard.hands) == 1


def test_a_host_that_does_not_open_is_an_error_for_whoever_asks(make: Make) -> None:
    crew, yard = make(rooms=0)
    with pytest.raises(ClusterError, match="there is no yard"):
        crew.open()
    with pytest.raises(ClusterError, match="there is no yard"):
        crew.describe(requests(1))
    assert yard.closed.wait(5)


def test_closing_ends_the_workers_and_whoever_waits(make: Make) -> None:
    crew, yard = make(size=1, hanging=("s0",), timeout=60)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(crew.describe, requests(1)) for _ in range(2)]
        while not yard.asked:
            time.sleep(0.01)
        crew.close()
        assert {type(one.exception()) for one in waiting} == {ClusterError}
    assert all(hand.gone.is_set() for hand in yard.hands)
    assert yard.closed.is_set()
    with pytest.raises(ClusterError, match="was closed"):
        crew.describe(requests(1))
