"""Jobs share batches, wait in order, expire, are given up, and are not failed by others."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import pytest

from mien.errors import BoxError, EngineDownError, EngineError
from mien.serve.batching import Batcher, Job, call_in_thread
from mien.serve.errors import RequestError

LATER = 60.0


class Model:
    """Notes its batches, and waits in each until it may go on."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[object]]] = []
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.fails: Callable[[Sequence[Job]], Exception | None] = lambda jobs: None

    def run(self, kind: str, jobs: Sequence[Job]) -> None:
        self.batches.append((kind, [job.payload for job in jobs]))
        self.began.release()
        self.gate.wait()
        error = self.fails(jobs)
        if error is not None:
            raise error
        for job in jobs:
            job.answer(("answer to", job.payload))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batcher(model: Model) -> Iterator[Batcher]:
    made = Batcher(model.run, max_batch=4, max_wait=0.0)
    made.start()
    yield made
    model.gate.set()
    made.close()


def job(
    payload: object, *, kind: str = "predict", size: int = 1, shared: bool = True, left: float = LATER
) -> Job:
    deadline = time.monotonic() + left
    return Job(kind=kind, payload=payload, size=size, is_shared=shared, deadline=deadline)


def submit(batcher: Batcher, *jobs: Job) -> None:
    for item in jobs:
        batcher.submit(item)


def occupy(batcher: Batcher, model: Model) -> Job:
    """Lets the model begin a batch, behind which others wait."""
    first = job("first")
    batcher.submit(first)
    model.began.acquire()
    return first


def test_jobs_that_wait_share_a_batch(batcher: Batcher, model: Model) -> None:
    first = occupy(batcher, model)
    jobs = [job(number) for number in range(6)]
    submit(batcher, *jobs)
    assert batcher.num_waiting == 6
    model.gate.set()
    assert [item.future.result() for item in jobs] == [("answer to", number) for number in range(6)]
    assert first.future.result() == ("answer to", "first")
    assert model.batches == [("predict", ["first"]), ("predict", [0, 1, 2, 3]), ("predict", [4, 5])]


def test_a_batch_holds_so_many_images(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    jobs = [job("a", size=3), job("b", size=2), job("c"), job("large", size=9)]
    submit(batcher, *jobs)
    model.gate.set()
    for item in jobs:
        item.future.result()
    assert [payloads for _, payloads in model.batches[1:]] == [["a", "c"], ["b"], ["large"]]


def test_kinds_are_not_mixed_and_no_kind_waits_forever(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    jobs = [
        job(1),
        job(2, kind="describe"),
        job(3),
        job(4, kind="explain", shared=False),
        job(5, kind="describe"),
    ]
    jobs.append(job(6, kind="explain", shared=False))
    submit(batcher, *jobs)
    model.gate.set()
    for item in jobs:
        item.future.result()
    assert model.batches[1:] == [
        ("predict", [1, 3]),
        ("describe", [2, 5]),
        ("explain", [4]),
        ("explain", [6]),
    ]


def test_the_model_is_prepared_and_used_in_one_thread() -> None:
    threads: list[int] = []

    def run(kind: str, jobs: Sequence[Job]) -> None:
        threads.append(threading.get_ident())
        jobs[0].answer(kind)

    batcher = Batcher(run, max_batch=1, max_wait=0.0)
    batcher.start(lambda: threads.append(threading.get_ident())).result(timeout=LATER)
    batcher.submit(item := job("x"))
    item.future.result(timeout=LATER)
    batcher.close()
    assert threads[0] == threads[1] != threading.get_ident()


def test_a_model_that_cannot_be_prepared_says_why(model: Model) -> None:
    def fail() -> None:
        raise EngineDownError("no device")

    batcher = Batcher(model.run, max_batch=1, max_wait=0.0)
    with pytest.raises(EngineDownError, match="no device"):
        batcher.start(fail).result(timeout=LATER)
    batcher.close()
    assert not batcher.is_alive


def test_who_waits_for_the_preparation_may_leave(model: Model) -> None:
    batcher = Batcher(model.run, max_batch=1, max_wait=0.0)

    def prepare() -> None:
        model.gate.wait()

    prepared = batcher.start(prepare)
    assert not prepared.cancel()
    model.gate.set()
    prepared.result(timeout=LATER)
    batcher.close()


def test_a_call_in_a_thread_returns_and_raises() -> None:
    assert call_in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        call_in_thread(lambda: 1 // 0)


def test_a_job_waits_for_others_for_a_moment(model: Model) -> None:
    model.gate.set()
    batcher = Batcher(model.run, max_batch=3, max_wait=LATER)
    batcher.start()
    jobs = [job(number) for number in range(3)]
    submit(batcher, *jobs)  # the third fills the batch, so that nothing waits for a minute
    for item in jobs:
        item.future.result()
    batcher.close()
    assert model.batches == [("predict", [0, 1, 2])]


def test_a_job_waits_only_if_others_may_come(model: Model) -> None:
    model.gate.set()
    pending = 1
    batcher = Batcher(model.run, max_batch=2, max_wait=2 * LATER, num_pending=lambda: pending)
    batcher.start()
    batcher.submit(alone := job("alone"))
    alone.future.result(timeout=LATER)
    pending = 2  # one of them is still being read
    share_a_batch(batcher, job("first", left=3 * LATER), job("second", left=3 * LATER))
    pending = 1  # but the batch before was shared
    share_a_batch(batcher, job("third", left=3 * LATER), job("fourth", left=3 * LATER))
    batcher.close()
    assert [payloads for _, payloads in model.batches] == [
        ["alone"],
        ["first", "second"],
        ["third", "fourth"],
    ]


def share_a_batch(batcher: Batcher, first: Job, second: Job) -> None:
    """Submits the second job when the first has waited for a while."""
    batcher.submit(first)
    with pytest.raises(TimeoutError):
        first.future.result(timeout=0.2)
    batcher.submit(second)
    second.future.result(timeout=LATER)


def test_who_left_or_came_too_late_costs_nothing(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    left, late, good = job("left"), job("late", left=-1.0), job("good")
    submit(batcher, left, late, good)
    left.future.cancel()
    model.gate.set()
    assert good.future.result() == ("answer to", "good")
    with pytest.raises(RequestError, match="in time") as caught:
        late.future.result()
    assert (caught.value.status, caught.value.retryable) == (504, True)
    assert model.batches[1:] == [("predict", ["good"])]


def test_one_job_that_fails_does_not_fail_the_others(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    model.fails = lambda jobs: RuntimeError("secret") if any(item.payload == "bad" for item in jobs) else None
    jobs = [job("a"), job("bad"), job("c")]
    submit(batcher, *jobs)
    model.gate.set()
    assert jobs[0].future.result() == ("answer to", "a")
    assert jobs[2].future.result() == ("answer to", "c")
    with pytest.raises(RuntimeError):
        jobs[1].future.result()
    assert [payloads for _, payloads in model.batches[1:]] == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]


def test_a_model_that_is_down_is_not_tried_with_each(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    model.fails = lambda jobs: EngineDownError("no device")
    jobs = [job("a"), job("b")]
    submit(batcher, *jobs)
    model.gate.set()
    for item in jobs:
        assert isinstance(item.future.exception(), EngineDownError)
    assert len(model.batches) == 2
    model.fails = lambda jobs: None  # it recovers
    batcher.submit(again := job("again"))
    assert again.future.result() == ("answer to", "again")


def test_failures_of_the_model_in_a_row_are_counted(batcher: Batcher, model: Model) -> None:
    model.gate.set()
    down = EngineDownError("no device")
    unreachable = EngineDownError("no server")
    unreachable.retryable = True
    counts = []
    for error in (down, RuntimeError(), BoxError("empty"), EngineError("memory"), unreachable, None, down):
        model.fails = lambda jobs, error=error: error  # type: ignore[misc]
        batcher.submit(item := job("x"))
        assert item.future.exception() is error
        counts.append(batcher.num_failed)
    del counts[5]  # an answer is there before the row is ended
    assert counts == [1, 2, 2, 2, 2, 1]


def test_one_answer_of_a_batch_that_failed_ends_the_row(batcher: Batcher, model: Model) -> None:
    occupy(batcher, model)
    jobs = [job("bad"), job("good")]
    submit(batcher, *jobs)
    model.fails = lambda jobs: RuntimeError() if "bad" in [item.payload for item in jobs] else None
    model.gate.set()
    assert jobs[1].future.result() == ("answer to", "good")
    batcher.close()
    assert batcher.num_failed == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_noticed(model: Model) -> None:
    def end(size: int, seconds: float) -> None:
        raise SystemExit

    model.gate.set()
    batcher = Batcher(model.run, max_batch=1, max_wait=0.0, on_batch=end)
    assert not batcher.is_alive
    batcher.start()
    assert batcher.is_alive
    batcher.submit(item := job("x"))
    item.future.result()
    batcher.close()  # waits for the thread, which has ended
    assert not batcher.is_alive


def test_messages_of_failures_are_not_logged(
    batcher: Batcher, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    model.gate.set()
    for error in (RuntimeError("a description"), EngineError("a description")):
        model.fails = lambda jobs, error=error: error  # type: ignore[misc]
        batcher.submit(item := job("x"))
        assert item.future.exception() is error
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "RuntimeError at" in caplog.text
    assert "a description" not in caplog.text


def test_the_end_answers_what_was_taken_and_takes_no_more(model: Model) -> None:
    batcher = Batcher(model.run, max_batch=2, max_wait=LATER)
    batcher.start()
    jobs = [job(number) for number in range(5)]
    submit(batcher, *jobs)
    model.gate.set()
    batcher.close()
    assert all(item.future.done() for item in jobs)
    with pytest.raises(RequestError, match="closed"):
        batcher.submit(job("late"))


def test_an_idle_batcher_holds_no_images() -> None:
    class Payload:
        pass

    def run(kind: str, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.answer(kind)

    batcher = Batcher(run, max_batch=4, max_wait=0.0)
    batcher.start()
    payload = Payload()
    reference = weakref.ref(payload)
    job = Job(kind="x", payload=payload, deadline=time.monotonic() + 30)
    batcher.submit(job)
    assert job.future.result(timeout=30) == "x"
    del job, payload
    ends = time.monotonic() + 30
    while reference() is not None and time.monotonic() < ends:
        time.sleep(0.01)
    assert reference() is None
    batcher.close()
