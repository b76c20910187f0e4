"""Workers that may come, die and hang, and batches that are answered nevertheless.

Goes in: batches of requests, from several threads. Comes out: replies in order, or the engine's own failure.
Knows nothing about: what a worker is or where it runs (see `Host`), stores, keys.

Each worker has threads here that hand it one batch after another, so whichever is free first takes the next
batch. A batch whose worker is lost goes to another one; it is tried again alone on its worker, so that it is
clear whose doing the next loss is, and is given up as the engine's failure after a few: who asks then halves
it. Only when workers are lost or cannot be started for good is it the cluster's failure.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mien.describe.backoff import Backoff
from mien.describe.engine import Reply, Request
from mien.describe.ray.job import Job
from mien.describe.ray.worker_backend import Host, LostError
from mien.errors import ClusterError, EngineError, MienError

__all__ = ["Crew"]

_log = logging.getLogger(__name__)

# So many losses in a row, besides one of each worker, without any answer: it is not the items' doing.
_BROKEN_AFTER: Final = 96
_STARTS: Final = 5  # of one worker in vain, while no other lives
_REFUSALS: Final = 2  # by the engine in it
_FREE: Final = 3  # losses in a row before pauses begin; a poison item costs that many
_LOOK_AGAIN: Final = 5.0  # seconds between looks for more room
_QUIET: Final = 2.0  # seconds after which a worker is greeted first: it may have died with nothing to do
_CLOSING: Final = 20.0  # seconds
_AGAIN: Final = "see the logs of the cluster and run again: what was described is kept"


@dataclass(slots=True, eq=False)
class _Post:
    """The place of one worker, which is filled again and again."""

    hiring: threading.Lock = field(default_factory=threading.Lock)
    worker: Any = None
    is_ready: bool = False
    heard: float = 0.0  # when it last answered
    busy: int = 0
    is_alone: bool = False  # its one batch is to be the only one
    failed_starts: int = 0


class Crew:
    """At most `size` workers, or as many as there is room for; each gets `calls` batches at once.

    `timeout`: seconds for a batch. `patience`: for a worker to come up; its machine may have to, before.
    """

    def __init__(
        self, host: Host, *, size: int | None, calls: int = 1, timeout: float, patience: float = 300.0
    ) -> None:
        self._host = host
        self._size = size
        self._calls = calls
        self._timeout = timeout
        self._patience = max(patience, timeout)
        self._starting = Backoff(base=0.5, cap=30.0)
        self._losing = Backoff(base=0.1, cap=5.0)
        # Guards all that follows.
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._posts: list[_Post] = []
        self._losses = 0  # in a row, over all workers
        self._error: MienError | None = None
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self._opened = threading.Event()
        self._foreman: threading.Thread | None = None

    def open(self) -> None:
        """Starts the host and the first workers, once; raises what hinders it."""
        with self._changed:
            if self._foreman is None:
                self._foreman = threading.Thread(target=self._lead, name="crew", daemon=True)
                self._foreman.start()
        self._opened.wait()
        if self._error is not None:
            raise self._error

    @property
    def size(self) -> int:
        """How many workers there are to be, as things stand."""
        return len(self._posts)

    @property
    def num_live(self) -> int:
        """How many workers can take a batch now, or have one."""
        return sum(post.is_ready for post in self._posts)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        """The replies of some worker. EngineError as the engine raises it, ClusterError if none can work."""
        self.open()
        job = Job(requests)
        with self._changed:
            if self._error is not None:
                raise self._error
            self._jobs.append(job)
            self._changed.notify_all()
        return job.done.result()

    def close(self) -> None:
        """Ends all workers; whoever waits for an answer gets a ClusterError. For good."""
        self._end(ClusterError("the cluster was closed", hint=_AGAIN))
        foreman = self._foreman
        if foreman is not None and foreman is not threading.current_thread():
            foreman.join(_CLOSING)

    # --- The foreman: one thread ---

    def _lead(self) -> None:
        try:
            self._host.open()
            while not self._over.is_set():
                self._grow()
                self._opened.set()
                self._over.wait(_LOOK_AGAIN)
        except MienError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001  a thread of its own: nobody else would ever hear of it
            self._end(_unexpected(error))
        finally:
            self._opened.set()
            for post in self._posts:
                self._dismiss(post.worker)
            for thread in self._threads:  # none may be on its way there when the host closes
                thread.join(_CLOSING / 2)
            self._host.close()

    def _grow(self) -> None:
        wanted = self._size or self._host.room()
        while self.size < wanted:
            post = _Post()
            self._posts.append(post)
            for _ in range(self._calls):
                self._threads.append(threading.Thread(target=self._serve, args=(post,), daemon=True))
                self._threads[-1].start()

    def _end(self, error: MienError) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._over.set()
            for job in self._jobs:
                job.done.set_exception(self._error)
            self._jobs.clear()
            self._changed.notify_all()

    # --- A post: one thread for each call at once ---

    def _serve(self, post: _Post) -> None:
        try:
            while self._staffed(post):
                taken = self._take(post)
                if taken is not None:
                    self._do(post, *taken)
        except Exception as error:  # noqa: BLE001  a thread of its own: nobody else would ever hear of it
            self._end(_unexpected(error))

    def _staffed(self, post: _Post) -> bool:
        """Fills the post if need be, however often that takes; False once all is over."""
        with post.hiring:
            while not post.is_ready and not self._over.wait(self._pause(post)):
                self._hire(post)
            return not self._over.is_set()

    def _pause(self, post: _Post) -> float:
        starting = self._starting.pause(post.failed_starts) if post.failed_starts else 0.0
        losing = self._losing.pause(self._losses - _FREE) if self._losses > _FREE else 0.0
        return max(starting, losing)

    def _hire(self, post: _Post) -> None:
        try:
            post.worker = self._host.start()
            if not self._over.is_set():  # otherwise the foreman may have looked already
                self._host.greet(post.worker, self._patience)
        except (LostError, MienError) as error:
            self._not_hired(post, error)
        else:
            with self._changed:
                post.is_ready, post.heard, post.failed_starts = True, time.monotonic(), 0
                self._changed.notify_all()

    def _not_hired(self, post: _Post, error: LostError | MienError) -> None:
        if self._over.is_set():
            return
        self._dismiss(post.worker)
        post.failed_starts += 1
        _log.info("a worker did not start: %s", error)
        starts = _STARTS if isinstance(error, LostError) else _REFUSALS
        is_enough = post.failed_starts >= starts or getattr(error, "hung", False)
        if self.num_live == 0 and is_enough:
            self._end(_failed("no worker can start", error) if isinstance(error, LostError) else error)

    def _take(self, post: _Post) -> tuple[Any, Job] | None:
        """A worker and its next batch; None if the worker is gone meanwhile, or all is over."""
        with self._changed:
            worker = post.worker
            self._changed.wait_for(lambda: self._is_gone(post, worker) or self._suits(post))
            if self._is_gone(post, worker):
                return None
            job = self._jobs.popleft()
            post.busy += 1
            post.is_alone = job.losses > 0
            return worker, job

    def _is_gone(self, post: _Post, worker: Any) -> bool:
        return self._over.is_set() or not post.is_ready or post.worker is not worker

    def _suits(self, post: _Post) -> bool:
        return bool(self._jobs) and not post.is_alone and (not self._jobs[0].losses or not post.busy)

    def _do(self, post: _Post, worker: Any, job: Job) -> None:
        is_doing = False
        try:
            if time.monotonic() - post.heard > _QUIET and not post.busy > 1:
                self._host.greet(worker, self._timeout)
            is_doing = True
            replies = self._host.ask(worker, job.requests, self._timeout)
        except LostError as lost:
            self._lost(post, worker, job, lost, is_doing)
        except Exception as error:  # noqa: BLE001  whoever asked hears of it, in a thread of their own
            self._answered(post, worker)
            job.done.set_exception(error)
        else:
            self._answered(post, worker)
            job.done.set_result(replies)

    def _answered(self, post: _Post, worker: Any) -> None:
        with self._changed:
            self._losses = 0
            if post.worker is worker:
                post.heard = time.monotonic()
            self._leave(post)

    def _leave(self, post: _Post) -> None:
        post.busy -= 1
        post.is_alone = False
        self._changed.notify_all()

    def _lost(self, post: _Post, worker: Any, job: Job, lost: LostError, is_doing: bool) -> None:
        _log.info("a worker was lost: %s", lost)
        self._dismiss(worker)
        with self._changed:
            if is_doing:
                job.suffer(lost)
            if post.is_ready and post.worker is worker:
                post.is_ready = False
                self._losses += 1
            self._leave(post)
            if self._error is not None:
                job.done.set_exception(self._error)
            elif job.is_given_up:
                job.done.set_exception(job.took_down(lost))
            else:
                self._jobs.appendleft(job)
            losses = self._losses
        if losses >= _BROKEN_AFTER + self.size:
            self._end(_failed(f"{losses} workers in a row were lost without an answer", lost))

    def _dismiss(self, worker: Any) -> None:
        if worker is not None:
            self._host.dismiss(worker)


def _failed(what: str, error: Exception) -> ClusterError:
    hint = f"see that it has what run.cpus_per_actor and run.gpus_per_actor ask for, {_AGAIN}"
    return ClusterError(f"{what}; the last one {error}", hint=hint)


def _unexpected(error: Exception) -> ClusterError:
    return ClusterError(f"the cluster failed: {type(error).__name__}: {error}", hint=_AGAIN)
