"""Work on a stream in order, some items ahead of whoever takes the results, with bounded memory.

Goes in: any iterable. Comes out: groups of it, or the results of a function on it.
Knows nothing about: what the items are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

__all__ = ["ahead", "groups", "threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def threads(num_workers: int) -> Iterator[ThreadPoolExecutor | None]:
    """A pool, or None for no workers; when this ends, what was not begun is dropped."""
    if num_workers <= 0:
        yield None
        return
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="describe")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def groups(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` items, in order; the last may be shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def ahead(
    pool: ThreadPoolExecutor | None,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    window: int,
) -> Iterator[_Result]:
    """`map`, in order, where the pool is at most `window` items ahead."""
    if pool is None:
        yield from map(function, items)
        return
    begun: deque[Future[_Result]] = deque()
    for item in items:
        begun.append(pool.submit(function, item))
        if len(begun) >= window:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
