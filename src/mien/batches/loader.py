"""Things made ahead of their use, in threads, in order.

Goes in: a function and what to call it with. Comes out: the results, in the order of the arguments.
Knows nothing about: what is made.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["made_ahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Item], Made], items: Iterable[Item], *, workers: int) -> Iterator[Made]:
    """`make` of each item; up to `workers` are made while an earlier one is used, none ahead with 0.

    What `make` gives must follow from the item alone, so that threads change nothing but the time. Reading
    a feature file and moving rows to a device let other threads run.
    """
    if workers == 0:
        yield from map(make, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="mien-load") as pool:
        pending: deque[Future[Made]] = deque(pool.submit(make, item) for item in islice(waiting, workers))
        try:
            while pending:
                made = pending.popleft().result()
                pending.extend(pool.submit(make, item) for item in islice(waiting, 1))
                yield made
        finally:
            for future in pending:
                future.cancel()
