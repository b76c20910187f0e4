"""The worker processes of an ablation, which end with it, however it ends."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread

from mien.errors import EngineError
from mien.startup import pause_collector_during_imports

__all__ = ["end_with_parent", "worker_pool"]


@contextmanager
def worker_pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes. After an error, running jobs are finished; after an interrupt, they are killed.

    Raises:
        EngineError: Someone else killed a process, as the kernel does when the memory runs out.
    """
    # Spawn, because forking a process that has used torch may hang.
    last = logging.lastResort
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(last.formatter if last else None,),
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        pool.shutdown(cancel_futures=True)
        raise EngineError(
            "a worker process was killed, perhaps because the memory ran out",
            hint="run again: what is finished is kept; lower train.batch_size if it happens again",
        ) from error
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        for worker in list(pool._processes.values()):
            worker.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _start_worker(formatter: logging.Formatter | None) -> None:
    pause_collector_during_imports()
    if logging.lastResort:
        logging.lastResort.setFormatter(formatter)  # logs look as those of the parent process
    # A terminal sends Ctrl-C to the workers as well; the parent process ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Ends this worker process when its parent ends, even by `kill -9`.

    Otherwise the worker would go on, and lock its run against the next ablation.
    """
    parent = parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        Thread(target=wait, daemon=True).start()
