"""A worker backend in threads of this process, whose workers die, hang or refuse as a test says."""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.ray.worker_backend import WorkerBackend, WorkerLostError
from mien.errors import ClusterError, EngineError


class ThreadWorker:
    """Counts the batches that it works on at the same time."""

    def __init__(self) -> None:
        self.is_dead = threading.Event()
        self.num_running = self.max_running = 0


class ThreadBackend(WorkerBackend):
    """Workers that share one engine.

    Args:
        engine: answers the requests; a fake engine with these `options` by default.
        deadly: subjects that kill their worker.
        hanging: subjects on which a worker hangs until its timeout.
        on_start: called with the number of each worker at its handshake; may raise.
        capacity: how many workers fit; with 0 the backend does not open.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        deadly: Collection[str] = (),
        hanging: Collection[str] = (),
        on_start: Callable[[int], None] | None = None,
        capacity: int = 2,
        delay: float = 0.0,
        **options: Any,
    ) -> None:
        self.engine = engine or FakeEngine(FakeOptions(**options))
        self.deadly, self.hanging = set(deadly), set(hanging)
        self.on_start = on_start or (lambda number: None)
        self.num_workers = capacity
        self.delay = delay
        self.workers: list[ThreadWorker] = []
        self.calls: list[list[str]] = []  # the subject ids of each
        self.lock = threading.Lock()
        self.is_closed = threading.Event()

    def open(self) -> None:
        if not self.num_workers:
            raise ClusterError("no worker fits")

    def capacity(self) -> int:
        return self.num_workers

    def start(self) -> ThreadWorker:
        with self.lock:
            self.workers.append(ThreadWorker())
            return self.workers[-1]

    def handshake(self, worker: ThreadWorker, timeout: float) -> None:
        if worker.is_dead.is_set():
            raise WorkerLostError("died while idle")
        self.on_start(self.workers.index(worker))

    def describe(
        self, worker: ThreadWorker, requests: Sequence[Request], timeout: float
    ) -> Sequence[Reply | EngineError]:
        ids = [request.subject_id for request in requests]
        with self.lock:
            self.calls.append(ids)
            worker.num_running += 1
            worker.max_running = max(worker.max_running, worker.num_running)
        if self.deadly.intersection(ids):
            worker.is_dead.set()
        if self.hanging.intersection(ids) and not worker.is_dead.wait(timeout):
            raise WorkerLostError("hangs", hung=True)
        if worker.is_dead.wait(self.delay):
            raise WorkerLostError("died")
        with self.lock:
            worker.num_running -= 1
        return self.engine.describe(requests)

    def stop(self, worker: ThreadWorker) -> None:
        worker.is_dead.set()

    def close(self) -> None:
        self.is_closed.set()
