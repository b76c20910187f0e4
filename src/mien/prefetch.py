"""Applies a function to a stream in order, a bounded number of items ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TypeVar

__all__ = ["batched", "groups_in_memory", "prefetch", "runs", "thread_pool"]

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


def runs(items: Iterable[_Item], key: Callable[[_Item], object], *, max_length: int) -> Iterator[list[_Item]]:
    """Lists of consecutive items with an equal key, in order; a longer run is split."""
    for _, run in groupby(items, key):
        yield from batched(run, max_length)


def groups_in_memory(
    items: Iterator[_Item],
    num_bytes: Callable[[_Item], int],
    num_held: int,
    max_bytes: int,
) -> Iterator[Iterator[_Item]]:
    """Groups that are finished one after another, because the images of two would take too much memory.

    As the engine waits between groups, a group ends only where `num_held` consecutive images take too much:
    photos of the usual datasets are all in one group.

    Args:
        items: What has images.
        num_bytes: How much memory the images of one take.
        num_held: The most items whose images are in memory at once.
        max_bytes: The most that they may take, unless a single one takes more.
    """
    waiting = next(items, None)

    def group() -> Iterator[_Item]:
        nonlocal waiting
        held: deque[int] = deque()
        total = 0
        while waiting is not None:
            count = num_bytes(waiting)
            if len(held) == num_held:
                total -= held.popleft()
            if total and count and total + count > max_bytes:
                return
            held.append(count)
            total += count
            yield waiting
            waiting = next(items, None)

    while waiting is not None:
        yield group()


def prefetch(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    pool: ThreadPoolExecutor | None,
    window: int,
    weight: Callable[[_Item], int] = lambda _: 1,
) -> Iterator[_Result]:
    """`map(function, items)` whose next results are computed while the consumer works on an earlier one.

    Results come in the order of the items, and an exception is raised in the place of its result.

    Args:
        function: Called in the threads of the pool. Its result must depend on the item alone.
        items: Read by the thread that consumes the results, up to `window` ahead of them.
        pool: From `thread_pool`. With None, each item is computed when its result is requested.
        window: The most items in flight, the one that is returned next included.
        weight: For how many an item counts; the last one in flight may exceed the window.
    """
    if pool is None:
        yield from map(function, items)
        return
    in_flight: deque[tuple[Future[_Result], int]] = deque()
    total = 0
    for item in items:
        in_flight.append((pool.submit(function, item), weight(item)))
        total += in_flight[-1][1]
        while total >= window:
            future, count = in_flight.popleft()
            total -= count
            yield future.result()
    while in_flight:
        yield in_flight.popleft()[0].result()
