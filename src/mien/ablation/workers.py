"""The worker processes of an ablation, which end with it, however it ends."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread

from mien.errors import EngineError
from mien.startup import pause_collector_during_imports
from mien.weights.hub import KnownModels, adopt_models, known_models

__all__ = ["end_with_parent", "worker_pool"]

_NOTES = "mien.weights"  # the logger of downloads


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
        initargs=(
            last.formatter if last else None,
            [handler.formatter for handler in logging.getLogger(_NOTES).handlers],
            known_models(),
        ),
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


def _start_worker(
    formatter: logging.Formatter | None, notes: Sequence[logging.Formatter | None], models: KnownModels
) -> None:
    pause_collector_during_imports()
    adopt_models(models)
    # Logs look as those of the parent process.
    if logging.lastResort:
        logging.lastResort.setFormatter(formatter)
    for note in notes:
        handler, logger = logging.StreamHandler(), logging.getLogger(_NOTES)
        handler.setFormatter(note)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
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
