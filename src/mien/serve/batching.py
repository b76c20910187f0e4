"""One thread for the model: requests that wait at the same time share its batches.

A request waits for others a few milliseconds at most, and not at all when it is alone. While one batch is
read, the next one fills by itself.

The model is used in this thread only. OpenMP, with which torch shares work among cores, keeps a pool of
threads for each thread that calls it. With more than one pool they sleep while they wait for each other, and
wake up slowly: a quarter of the time of a batch on two cores.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from mien.errors import EngineDownError, MienError, WeightsError
from mien.serve.errors import RequestError

__all__ = ["Batcher", "Job", "call_in_thread", "deadline_error"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# These would fail again with each request alone.
_OF_ALL: Final = (EngineDownError, WeightsError)


@dataclass(eq=False, slots=True, kw_only=True)
class Job:
    """One request to the model.

    Attributes:
        kind: What to do; only jobs of the same kind share a batch.
        payload: What to do it with.
        size: How many images that are.
        is_shared: Whether it may share a batch.
        deadline: The time, by `time.monotonic`, after which no one waits for the answer.
        arrived: When it was submitted.
        future: Gets the answer or the error. Cancel it when no one waits for the answer.
    """

    kind: str
    payload: Any
    size: int = 1
    is_shared: bool = True
    deadline: float
    arrived: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)

    @property
    def is_over(self) -> bool:
        """Whether no one waits for an answer."""
        return self.future.done() or time.monotonic() > self.deadline

    def require_open(self) -> None:
        """RequestError if no one waits for an answer."""
        if self.is_over:
            raise deadline_error()

    def answer(self, value: object) -> None:
        """Answers, unless no one waits any more."""
        with suppress(InvalidStateError):
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Fails, unless it was answered or no one waits any more."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Batcher:
    """Runs jobs in batches, in one thread.

    Args:
        run: Runs jobs of one kind, and answers each.
        max_batch: The most images in a batch.
        max_wait: Seconds that a job waits for others to fill its batch.
        num_pending: How many requests there are, including those that are still being read. A job waits for
            others only if there are some, or if the batch before was shared. None to wait always.
        on_batch: Is called with the number of images and the seconds of each batch.
    """

    def __init__(
        self,
        run: Callable[[str, Sequence[Job]], None],
        *,
        max_batch: int,
        max_wait: float,
        num_pending: Callable[[], int] | None = None,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._run, self._max_batch, self._max_wait = run, max_batch, max_wait
        self._num_pending = num_pending
        self._was_shared = False
        self._on_batch = on_batch
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_per_image = 0.1  # a moving mean; the first batch corrects it
        self._num_failed = 0
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], None] = lambda: None) -> Future[None]:
        """Starts the thread, which first prepares. The future has the end of that, or its error."""
        prepared: Future[None] = Future()
        prepared.set_running_or_notify_cancel()  # who waits may leave, and the thread goes on
        self._thread = threading.Thread(
            target=self._work, args=(prepare, prepared), name="model", daemon=True
        )
        self._thread.start()
        return prepared

    def submit(self, job: Job) -> None:
        """Takes a job; RequestError after `close`."""
        with self._changed:
            if self._is_closed:
                raise RequestError(
                    503, "not_ready", "the service is closed", hint="try again later", retry_after=5
                )
            self._jobs.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread, if it was started, when it has run all jobs that it took."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    @property
    def num_waiting(self) -> int:
        """Images that wait."""
        with self._changed:
            return sum(job.size for job in self._jobs)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def num_failed(self) -> int:
        """Batches that failed since the last answer, without faults of requests and temporary ones."""
        return self._num_failed

    def seconds_for(self, num_images: int) -> float:
        """About how long this many images take."""
        return num_images * self._seconds_per_image

    # --- In the thread ---

    def _work(self, prepare: Callable[[], None], prepared: Future[None]) -> None:
        try:
            prepare()
        except BaseException as error:  # noqa: BLE001  it belongs to the caller of `start`
            prepared.set_exception(error)
            return
        prepared.set_result(None)
        while batch := self._next_batch():
            self._was_shared = len(batch) > 1
            began = time.monotonic()
            self._run_batch(batch)
            seconds, size = time.monotonic() - began, sum(job.size for job in batch)
            self._seconds_per_image += 0.2 * (seconds / size - self._seconds_per_image)
            if self._on_batch is not None:
                self._on_batch(size, seconds)
            del batch  # its images are not to stay in memory until the next one comes

    def _next_batch(self) -> list[Job]:
        """The next jobs that go together; empty at the end."""
        with self._changed:
            while True:
                self._drop_expired()
                if self._jobs and (batch := self._fill(self._jobs[0])):
                    return batch
                if not self._jobs:
                    if self._is_closed:
                        return []
                    self._changed.wait()

    def _fill(self, first: Job) -> list[Job]:
        """The jobs that go with the first one, which waits for others for a moment."""
        ends = first.arrived + self._max_wait
        while first.is_shared and self._count(first.kind) < self._max_batch and self._others_may_come():
            left = ends - time.monotonic()
            if left <= 0:
                break
            self._changed.wait(left)
        self._drop_expired()
        if first not in self._jobs:
            return []
        batch: list[Job] = []
        size = 0
        for job in list(self._jobs) if first.is_shared else [first]:
            if job.kind != first.kind or (batch and size + job.size > self._max_batch):
                continue
            batch.append(job)
            size += job.size
        for job in batch:
            self._jobs.remove(job)
        return batch

    def _others_may_come(self) -> bool:
        if self._is_closed:
            return False
        return self._num_pending is None or self._was_shared or self._num_pending() > len(self._jobs)

    def _count(self, kind: str) -> int:
        return sum(job.size for job in self._jobs if job.kind == kind)

    def _drop_expired(self) -> None:
        for job in [job for job in self._jobs if job.is_over]:
            self._jobs.remove(job)
            job.fail(deadline_error())

    def _run_batch(self, batch: Sequence[Job]) -> None:
        error = self._try(batch)
        if error is None:
            self._num_failed = 0
            return
        self._num_failed += _is_of_model(error)
        left = [job for job in batch if not job.future.done()]
        if len(batch) == 1 or isinstance(error, _OF_ALL):
            for job in left:
                job.fail(error)
            return
        # One of them may be to blame, and the others are not to suffer for it.
        for job in left:
            alone = self._try([job])
            if alone is not None:
                job.fail(alone)
            else:
                self._num_failed = 0

    def _try(self, batch: Sequence[Job]) -> Exception | None:
        try:
            self._run(batch[0].kind, batch)
            return None
        except MienError as error:
            log.warning("a batch of %d failed: %s", len(batch), type(error).__name__)
            return error
        except Exception as error:  # noqa: BLE001  the thread must go on
            log.error("a batch of %d failed unexpectedly: %s", len(batch), _trace(error))
            return error


def _is_of_model(error: Exception) -> bool:
    """Whether an error is likely to stay: the engine cannot be used, or what failed is not known."""
    return not isinstance(error, MienError) or (isinstance(error, EngineDownError) and not error.retryable)


def call_in_thread(call: Callable[[], Result]) -> Result:
    """The result of a call in a thread of its own, such as one that loads a model.

    OpenMP's pool of threads ends with that thread.
    """
    found: Future[Result] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that waits
            found.set_exception(error)

    # Not an executor, which would wait for the end of the call after Ctrl-C.
    threading.Thread(target=run, name="call", daemon=True).start()
    return found.result()


def deadline_error() -> RequestError:
    """The error of a request that is too late."""
    return RequestError(
        504,
        "deadline_exceeded",
        "the request was not answered in time",
        hint="send fewer images per request, or try again when the service is less busy",
        retry_after=5,
    )


def _trace(error: Exception) -> str:
    """The type of an error and where it arose; its message could quote a description."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(frames[-4:])}"
