"""Prefetching: results in order, errors in their place, a bounded number of items ahead."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from mien.prefetch import batched, prefetch, thread_pool


def run(function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """With one item in flight per worker while an earlier result is in use, as training does it."""
    with thread_pool(workers) as pool:
        yield from prefetch(function, items, pool=pool, window=workers + 1)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order(workers: int) -> None:
    assert list(run(lambda item: item * item, range(20), workers)) == [n * n for n in range(20)]
    assert list(run(lambda item: item, [], workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_in_the_place_of_its_result(workers: int) -> None:
    def fail_at_two(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = run(fail_at_two, range(5), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_no_more_items_are_read_than_the_window_allows() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            read.append(item)
            yield item

    results = run(lambda item: item, items(), 2)
    next(results)
    assert len(read) == 3
    results.close()  # type: ignore[attr-defined]
    assert len(read) == 3


def test_batches_keep_the_order_and_the_last_may_be_shorter() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
