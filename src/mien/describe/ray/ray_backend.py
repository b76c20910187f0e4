"""Workers as Ray actors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.ray.connection import LOCAL, connection, map_ray_errors, ray_library
from mien.describe.ray.worker import Worker, pack
from mien.describe.ray.worker_backend import WorkerBackend, WorkerLostError
from mien.errors import ClusterError, EngineError, MienError
from mien.recipe import RunOptions

__all__ = ["RayBackend"]


class RayBackend(WorkerBackend):
    """Each worker is a Ray actor, which ends with this process even if this process is killed.

    Args:
        inner: the engine in this process; workers must have its signature.
        open_engine: opens the same engine in a worker. It must be picklable.
        run: where the cluster is, and what a worker reserves there.
    """

    def __init__(self, inner: Engine, open_engine: Callable[[], Engine], run: RunOptions) -> None:
        self._inner = inner
        self._open_engine = open_engine
        self._run = run
        self._is_open = False
        self._signature: Mapping[str, JsonValue] = {}
        self._calls = 0

    def open(self) -> None:
        self._signature = dict(self._inner.signature)
        self._calls = self._inner.calls_at_once + 1  # one more than it takes: the next is on its way
        connection.acquire(self._run)
        self._is_open = True
        if not self.capacity() and (self._run.actors is None or self._run.cluster == LOCAL):
            resources = f"{self._run.cpus_per_actor:g} CPUs and {self._run.gpus_per_actor:g} GPUs"
            raise ClusterError(
                f"no node of the cluster has the {resources} that a worker needs",
                hint="lower run.cpus_per_actor or run.gpus_per_actor; if nodes join later, set run.actors",
            )

    def capacity(self) -> int:
        with map_ray_errors():
            nodes = ray_library().nodes()
        return sum(self._capacity_of(node["Resources"]) for node in nodes if node["Alive"])

    def _capacity_of(self, resources: Mapping[str, float]) -> int:
        needed = {"CPU": self._run.cpus_per_actor, "GPU": self._run.gpus_per_actor}
        shares = {kind: share for kind, share in needed.items() if share} or {"CPU": 1.0}
        return min(math.floor(resources.get(kind, 0.0) / share) for kind, share in shares.items())

    def start(self) -> Any:
        with map_ray_errors():
            actor = (
                ray_library()
                .remote(Worker)
                .options(
                    num_cpus=self._run.cpus_per_actor,
                    num_gpus=self._run.gpus_per_actor,
                    max_concurrency=self._calls,
                    max_restarts=0,  # the pool restarts workers, and knows which batch each died on
                    scheduling_strategy="SPREAD",
                )
            )
            return actor.remote(self._open_engine, self._run.threads, is_process=True)

    def handshake(self, worker: Any, timeout: float) -> None:
        with map_ray_errors():
            error = ray_library().get(worker.handshake.remote(self._signature), timeout=timeout)
        if isinstance(error, MienError):
            raise error

    def describe(
        self, worker: Any, requests: Sequence[Request], timeout: float
    ) -> Sequence[Reply | EngineError]:
        with map_ray_errors():
            replies: Any = ray_library().get(worker.describe.remote(pack(requests)), timeout=timeout)
        if isinstance(replies, MienError):
            raise replies
        return list(replies)

    def stop(self, worker: Any) -> None:
        with suppress(WorkerLostError, MienError), map_ray_errors():
            ray_library().kill(worker, no_restart=True)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            connection.release()
