"""Any engine, in many processes of one machine or of a Ray cluster, with the texts of a single process.

Goes in: requests. Comes out: replies in order, as the engine within gives them.
Knows nothing about: stores, keys, which engine it is that works there, who gets which batch (see `crew`).

`[run] cluster = "ray"` starts Ray on this machine, for this process alone, and ends it afterwards; its ports
ask for a token that is made up each time. An address connects to a cluster that runs and leaves it as it was;
RAY_AUTH_TOKEN has to hold its token then, and mien and the weights have to be on every node.

Ray is imported when the first request comes: a full store needs no cluster.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Self

from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request, open_engine
from mien.describe.ray.connection import LOCAL, connection, library, seam
from mien.describe.ray.worker import Worker, packed
from mien.describe.ray.worker_backend import Host, LostError
from mien.describe.ray.worker_pool import Crew
from mien.errors import ClusterError, EngineError, MienError
from mien.recipe import DescribeOptions, RunOptions

__all__ = ["ClusterEngine"]


class ClusterEngine(Engine):
    """The engine that the recipe names, in workers that may die, hang or join."""

    def __init__(self, inner: Engine, options: DescribeOptions, run: RunOptions) -> None:
        self.inner = inner
        self._options = options
        self._run = run
        self._lock = threading.Lock()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(open_engine(options, run.model_copy(update={"cluster": None})), options, run)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return self.inner.signature

    @property
    def image_size(self) -> int | None:
        return self.inner.image_size

    @property
    def calls_at_once(self) -> int:
        """So many that every worker has its next batch already; starts the cluster if it has to look."""
        return (self._run.actors or self.crew.size) * self._calls

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return self.crew.describe(requests) if requests else []

    def close(self) -> None:
        if "_crew" in self.__dict__:
            self._crew.close()

    @property
    def crew(self) -> Crew:
        """The workers, started now if they are not."""
        with self._lock:
            crew = self._crew
        crew.open()
        return crew

    @property
    def _calls(self) -> int:
        """Of each worker: one more than its engine likes, which travels while the others are answered."""
        return self.inner.calls_at_once + 1

    @cached_property
    def _crew(self) -> Crew:
        run = self._run
        host = _RayHost(self._options, run, self.inner.signature, calls=self._calls)
        crew = Crew(host, size=run.actors, calls=self._calls, timeout=run.cluster_timeout)
        weakref.finalize(self, crew.close)
        return crew


# --- Workers ----------------------------------------------------------------------------------------------


class _RayHost(Host):
    """Workers are Ray actors. They end with this process, also if it is killed."""

    def __init__(
        self, options: DescribeOptions, run: RunOptions, signature: Mapping[str, JsonValue], *, calls: int
    ) -> None:
        self._options = options
        self._run = run
        self._signature = dict(signature)
        self._calls = calls
        self._is_open = False

    def open(self) -> None:
        connection.hold(self._run)
        self._is_open = True
        if not self.room() and (self._run.actors is None or self._run.cluster == LOCAL):
            wanted = f"{self._run.cpus_per_actor:g} CPUs and {self._run.gpus_per_actor:g} GPUs"
            raise ClusterError(
                f"no node of the cluster has the {wanted} that a worker asks for",
                hint="lower run.cpus_per_actor or run.gpus_per_actor; where nodes come later, set run.actors",
            )

    def room(self) -> int:
        with seam():
            nodes = library().nodes()
        return sum(self._room_on(node["Resources"]) for node in nodes if node["Alive"])

    def _room_on(self, resources: Mapping[str, float]) -> int:
        wanted = {"CPU": self._run.cpus_per_actor, "GPU": self._run.gpus_per_actor}
        shares = {kind: share for kind, share in wanted.items() if share} or {"CPU": 1.0}
        return min(math.floor(resources.get(kind, 0.0) / share) for kind, share in shares.items())

    def start(self) -> Any:
        with seam():
            actor = (
                library()
                .remote(Worker)
                .options(
                    num_cpus=self._run.cpus_per_actor,
                    num_gpus=self._run.gpus_per_actor,
                    max_concurrency=self._calls,
                    max_restarts=0,  # the crew starts them anew, and knows over which batch they died
                    scheduling_strategy="SPREAD",
                )
            )
            return actor.remote(self._options, self._run)

    def greet(self, worker: Any, timeout: float) -> None:
        with seam():
            said = library().get(worker.greet.remote(self._signature), timeout=timeout)
        if isinstance(said, MienError):
            raise said

    def ask(self, worker: Any, requests: Sequence[Request], timeout: float) -> Sequence[Reply | EngineError]:
        with seam():
            replies: Any = library().get(worker.describe.remote(packed(requests)), timeout=timeout)
        if isinstance(replies, MienError):
            raise replies
        return list(replies)

    def dismiss(self, worker: Any) -> None:
        with suppress(LostError, MienError), seam():
            library().kill(worker, no_restart=True)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            connection.release()
