"""Applies a function to a stream in order, a bounded number of items ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

__all__ = ["batched", "prefetch", "thread_pool"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def thread_pool(num_workers: int) -> Iterator[ThreadPoolExecutor | None]:
    """A pool of threads, or None for no workers; on exit, tasks that have not started are dropped."""
    if num_workers <= 0:
        yield None
        return
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="mien")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` items, in order; the last may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def prefetch(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    pool: ThreadPoolExecutor | None,
    window: int,
) -> Iterator[_Result]:
    """`map(function, items)` whose next results are computed while the consumer works on an earlier one.

    Results come in the order of the items, and an exception is raised in the place of its result.

    Args:
        function: Called in the threads of the pool. Its result must depend on the item alone.
        items: Read by the thread that consumes the results, up to `window` ahead of them.
        pool: From `thread_pool`. With None, each item is computed when its result is requested.
        window: The most items in flight, the one that is returned next included.
    """
    if pool is None:
        yield from map(function, items)
        return
    in_flight: deque[Future[_Result]] = deque()
    for item in items:
        in_flight.append(pool.submit(function, item))
        if len(in_flight) >= window:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()
