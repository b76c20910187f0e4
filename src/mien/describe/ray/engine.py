"""Any engine, run in many processes of one machine or a Ray cluster, with the texts of a single process.

`[run] cluster = "ray"` starts Ray on this machine for this process alone and stops it afterwards; its ports
require a token that is generated each time. An address connects to a running cluster and leaves it running:
RAY_AUTH_TOKEN must then hold its token, and every node needs mien and the weights.

The cluster starts with the first request, so a complete store needs no cluster.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from functools import cached_property

from mien.describe.engine import Engine, EngineWrapper, Reply, Request
from mien.describe.ray.worker_backend import WorkerBackend
from mien.describe.ray.worker_pool import WorkerPool
from mien.errors import EngineError

__all__ = ["ClusterEngine"]


class ClusterEngine(EngineWrapper):
    """Runs the inner engine in workers that may die, hang or join.

    Args:
        inner: the same engine in this process, which gives name, signature and image size. It is never
            called, so it loads no model.
        backend: starts and reaches the workers.
        size: how many workers to run; None for as many as fit.
        timeout: seconds that a worker has for a batch.
    """

    def __init__(self, inner: Engine, backend: WorkerBackend, *, size: int | None, timeout: float) -> None:
        super().__init__(inner)
        self._backend = backend
        self._size = size
        self._timeout = timeout
        self._lock = threading.Lock()

    @property
    def calls_at_once(self) -> int:
        """Enough that every worker has its next batch waiting. Starts the cluster if `size` is None."""
        return (self._size or self.pool.size) * self._calls_per_worker

    def best_batch_size(self, request: Request) -> int | None:
        return None  # the engine in this process is never called, so it cannot tell

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return self.pool.describe(requests) if requests else []

    def close(self) -> None:
        if "_pool" in self.__dict__:
            self._pool.close()
        super().close()

    @property
    def pool(self) -> WorkerPool:
        """The workers, started on first use."""
        with self._lock:
            pool = self._pool
        pool.open()
        return pool

    @property
    def _calls_per_worker(self) -> int:
        """One more than the engine takes at once: that one travels while the others are answered."""
        return self.inner.calls_at_once + 1

    @cached_property
    def _pool(self) -> WorkerPool:
        pool = WorkerPool(self._backend, size=self._size, calls=self._calls_per_worker, timeout=self._timeout)
        weakref.finalize(self, pool.close)
        return pool
