"""Answers batches with workers that may join, die or hang.

Each worker has threads in this process that hand it one batch after another, so whichever worker is free
first takes the next batch. A batch whose worker is lost goes to another worker. It then runs alone there, so
that the cause of the next loss is clear, and after a few losses it fails as the engine's failure; the caller
then halves it (see `retry`). Only if workers are lost or cannot start for good does the cluster itself fail.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from mien.describe.engine import Reply, Request
from mien.describe.ray.worker_backend import WorkerBackend, WorkerLostError
from mien.describe.retry import Backoff
from mien.errors import ClusterError, EngineError, MienError

__all__ = ["Job", "WorkerPool"]

_log = logging.getLogger(__name__)

# This many losses in a row without any reply, on top of one per worker, are not caused by the items.
_MAX_LOSSES_IN_A_ROW: Final = 96
_MAX_STARTS: Final = 5  # failed starts of one worker while no other is alive
_MAX_REFUSALS: Final = 2  # the same, if the engine inside refuses
_LOSSES_WITHOUT_PAUSE: Final = 3  # in a row; isolating one poison item costs that many
_CAPACITY_INTERVAL: Final = 5.0  # seconds between checks for more capacity
_IDLE: Final = 2.0  # seconds after which a worker is checked before its next batch: it may have died
_CLOSE_TIMEOUT: Final = 20.0  # seconds
# The system kills a process for which the memory does not suffice, and says so only in its own log.
_MEMORY: Final = (
    "a worker that is killed may have run out of memory: lower run.batch_size, or reserve more per worker"
)
_HINT: Final = "check the logs of the cluster and run again; finished descriptions are kept"

# A batch is given up soon, because its halves are tried again. A single item gets more attempts, because
# machines may fail often without its fault. A hang is more likely its fault, and takes longer.
_MAX_BLAME: Final = 2
_MAX_BLAME_ALONE: Final = 6
_BLAME_OF_HANG: Final = 2  # a death counts 1


@dataclass(slots=True, eq=False)
class Job:
    """A batch, the future of its replies, and how likely it caused the losses of its workers."""

    requests: Sequence[Request]
    done: Future[Sequence[Reply | EngineError]] = field(default_factory=Future)
    num_losses: int = 0
    blame: int = 0

    def record_loss(self, lost: WorkerLostError) -> None:
        """Counts a worker that was lost while it worked on this batch."""
        self.num_losses += 1
        self.blame += _BLAME_OF_HANG if lost.hung else 1

    @property
    def is_given_up(self) -> bool:
        """Whether the batch is not tried again as a whole."""
        return self.blame >= (_MAX_BLAME_ALONE if len(self.requests) == 1 else _MAX_BLAME)

    def as_engine_error(self, lost: WorkerLostError) -> EngineError:
        """The error of a batch that is given up after this last loss."""
        return EngineError(
            f"{self.num_losses} workers were lost on it; the last one {lost}",
            hint="if the model is slow, raise run.cluster_timeout"
            if lost.hung
            else f"check the logs of the cluster; {_MEMORY}",
        )


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of one worker, which is replaced when it is lost."""

    starting: threading.Lock = field(default_factory=threading.Lock)
    worker: Any = None
    is_ready: bool = False
    last_reply: float = 0.0  # monotonic seconds
    num_running: int = 0
    is_exclusive: bool = False  # its running batch must be the only one
    num_failed_starts: int = 0


class WorkerPool:
    """Runs batches on workers of a backend.

    Args:
        backend: where the workers run.
        size: how many workers to run; None for as many as fit, checked again from time to time.
        calls: how many batches a worker gets at once.
        timeout: seconds that a worker has for a batch.
        start_timeout: seconds that a worker has to come up; a cluster may have to start a machine first.
    """

    def __init__(
        self,
        backend: WorkerBackend,
        *,
        size: int | None,
        calls: int = 1,
        timeout: float,
        start_timeout: float = 300.0,
    ) -> None:
        self._backend = backend
        self._size = size
        self._calls = calls
        self._timeout = timeout
        self._start_timeout = max(start_timeout, timeout)
        self._start_backoff = Backoff(base=0.5, cap=30.0)
        self._loss_backoff = Backoff(base=0.1, cap=5.0)
        # Guards everything below.
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._slots: list[_Slot] = []
        self._num_losses = 0  # in a row, over all workers
        self._error: MienError | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._supervisor: threading.Thread | None = None

    def open(self) -> None:
        """Starts the backend and the first workers, once; raises the error that prevents it."""
        with self._changed:
            if self._supervisor is None:
                self._supervisor = threading.Thread(target=self._supervise, name="worker-pool", daemon=True)
                self._supervisor.start()
        self._opened.wait()
        if self._error is not None:
            raise self._error

    @property
    def size(self) -> int:
        """How many workers the pool currently maintains, ready or not."""
        return len(self._slots)

    @property
    def num_ready(self) -> int:
        """How many workers can take a batch or have one."""
        return sum(slot.is_ready for slot in self._slots)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        """Returns the replies of one of the workers.

        Raises:
            EngineError: the engine raised it, or the batch cost too many workers.
            ClusterError: no worker can work, or the pool was closed.
        """
        self.open()
        job = Job(requests)
        with self._changed:
            if self._error is not None:
                raise self._error
            self._jobs.append(job)
            self._changed.notify_all()
        return job.done.result()

    def close(self) -> None:
        """Stops all workers for good; pending calls of `describe` raise ClusterError."""
        self._fail(ClusterError("the cluster was closed", hint=_HINT))
        supervisor = self._supervisor
        if supervisor is not None and supervisor is not threading.current_thread():
            supervisor.join(_CLOSE_TIMEOUT)

    # --- The supervisor: one thread ---

    def _supervise(self) -> None:
        try:
            self._backend.open()
            while not self._stopping.is_set():
                self._add_slots()
                self._opened.set()
                self._stopping.wait(_CAPACITY_INTERVAL)
        except MienError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  a separate thread: the error would be lost otherwise
            self._fail(_unexpected(error))
        finally:
            self._opened.set()
            for slot in self._slots:
                self._stop_worker(slot.worker)
            for thread in self._threads:  # none may still use the backend when it closes
                thread.join(_CLOSE_TIMEOUT / 2)
            self._backend.close()

    def _add_slots(self) -> None:
        target = self._size or self._backend.capacity()
        while self.size < target:
            slot = _Slot()
            self._slots.append(slot)
            for _ in range(self._calls):
                self._threads.append(threading.Thread(target=self._serve, args=(slot,), daemon=True))
                self._threads[-1].start()

    def _fail(self, error: MienError) -> None:
        """Ends the pool; the first error stays."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._stopping.set()
            for job in self._jobs:
                job.done.set_exception(self._error)
            self._jobs.clear()
            self._changed.notify_all()

    # --- A slot: one thread per concurrent call ---

    def _serve(self, slot: _Slot) -> None:
        try:
            while self._ensure_worker(slot):
                taken = self._take_job(slot)
                if taken is not None:
                    self._run_job(slot, *taken)
        except Exception as error:  # noqa: BLE001  a separate thread: the error would be lost otherwise
            self._fail(_unexpected(error))

    def _ensure_worker(self, slot: _Slot) -> bool:
        """Starts a worker if the slot has none, as often as it takes; False once the pool stops."""
        with slot.starting:
            while not slot.is_ready and not self._stopping.wait(self._pause(slot)):
                self._start_worker(slot)
            return not self._stopping.is_set()

    def _pause(self, slot: _Slot) -> float:
        after_start, after_loss = 0.0, 0.0
        if slot.num_failed_starts:
            after_start = self._start_backoff.pause(slot.num_failed_starts)
        if self._num_losses > _LOSSES_WITHOUT_PAUSE:
            after_loss = self._loss_backoff.pause(self._num_losses - _LOSSES_WITHOUT_PAUSE)
        return max(after_start, after_loss)

    def _start_worker(self, slot: _Slot) -> None:
        try:
            slot.worker = self._backend.start()
            if not self._stopping.is_set():  # otherwise the supervisor may have stopped the workers already
                self._backend.handshake(slot.worker, self._start_timeout)
        except (WorkerLostError, MienError) as error:
            self._record_failed_start(slot, error)
        else:
            with self._changed:
                slot.is_ready, slot.last_reply, slot.num_failed_starts = True, time.monotonic(), 0
                self._changed.notify_all()

    def _record_failed_start(self, slot: _Slot, error: WorkerLostError | MienError) -> None:
        if self._stopping.is_set():
            return
        self._stop_worker(slot.worker)
        slot.num_failed_starts += 1
        _log.info("a worker did not start: %s", error)
        limit = _MAX_STARTS if isinstance(error, WorkerLostError) else _MAX_REFUSALS
        is_final = slot.num_failed_starts >= limit or getattr(error, "hung", False)
        if self.num_ready == 0 and is_final:
            self._fail(
                error if isinstance(error, MienError) else _cluster_error("no worker can start", error)
            )

    def _take_job(self, slot: _Slot) -> tuple[Any, Job] | None:
        """A worker and its next batch; None if the worker is gone by then or the pool stops."""
        with self._changed:
            worker = slot.worker
            self._changed.wait_for(lambda: self._is_gone(slot, worker) or self._can_take(slot))
            if self._is_gone(slot, worker):
                return None
            job = self._jobs.popleft()
            slot.num_running += 1
            slot.is_exclusive = job.num_losses > 0
            return worker, job

    def _is_gone(self, slot: _Slot, worker: Any) -> bool:
        return self._stopping.is_set() or not slot.is_ready or slot.worker is not worker

    def _can_take(self, slot: _Slot) -> bool:
        if not self._jobs or slot.is_exclusive:
            return False
        return not self._jobs[0].num_losses or not slot.num_running

    def _run_job(self, slot: _Slot, worker: Any, job: Job) -> None:
        is_sent = False
        try:
            if time.monotonic() - slot.last_reply > _IDLE and not slot.num_running > 1:
                self._backend.handshake(worker, self._timeout)
            is_sent = True
            replies = self._backend.describe(worker, job.requests, self._timeout)
        except WorkerLostError as lost:
            self._handle_loss(slot, worker, job, lost, is_sent)
        except Exception as error:  # noqa: BLE001  raised to the caller, in the caller's thread
            self._record_reply(slot, worker)
            job.done.set_exception(error)
        else:
            self._record_reply(slot, worker)
            job.done.set_result(replies)

    def _record_reply(self, slot: _Slot, worker: Any) -> None:
        with self._changed:
            self._num_losses = 0
            if slot.worker is worker:
                slot.last_reply = time.monotonic()
            self._leave(slot)

    def _leave(self, slot: _Slot) -> None:
        slot.num_running -= 1
        slot.is_exclusive = False
        self._changed.notify_all()

    def _handle_loss(self, slot: _Slot, worker: Any, job: Job, lost: WorkerLostError, is_sent: bool) -> None:
        _log.info("a worker was lost: %s", lost)
        self._stop_worker(worker)
        with self._changed:
            if is_sent:
                job.record_loss(lost)
            if slot.is_ready and slot.worker is worker:
                slot.is_ready = False
                self._num_losses += 1
            self._leave(slot)
            if self._error is not None:
                job.done.set_exception(self._error)
            elif job.is_given_up:
                job.done.set_exception(job.as_engine_error(lost))
            else:
                self._jobs.appendleft(job)
            num_losses = self._num_losses
        if num_losses >= _MAX_LOSSES_IN_A_ROW + self.size:
            self._fail(_cluster_error(f"{num_losses} workers in a row were lost without a reply", lost))

    def _stop_worker(self, worker: Any) -> None:
        if worker is not None:
            self._backend.stop(worker)


def _cluster_error(message: str, error: Exception) -> ClusterError:
    hint = f"check that the cluster has run.cpus_per_actor and run.gpus_per_actor per worker, {_HINT}"
    if isinstance(error, WorkerLostError) and not error.hung:
        hint = f"{hint}; {_MEMORY}"
    return ClusterError(f"{message}; the last one {error}", hint=hint)


def _unexpected(error: Exception) -> ClusterError:
    return ClusterError(f"the cluster failed: {type(error).__name__}: {error}", hint=_HINT)
