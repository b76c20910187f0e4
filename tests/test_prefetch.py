"""Prefetching: results in order, errors in their place, a bounded number of items ahead."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.prefetch import batched, groups_in_memory, prefetch, runs, thread_pool


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


def test_small_items_are_one_group_however_many() -> None:
    groups = [list(group) for group in groups_in_memory(iter(range(1_000)), lambda _: 10, 20, 200)]
    assert groups == [list(range(1_000))]


@given(
    sizes=st.lists(st.integers(0, 120), max_size=60), num_held=st.integers(1, 12), limit=st.integers(50, 300)
)
def test_items_that_are_held_together_fit_into_memory(sizes: list[int], num_held: int, limit: int) -> None:
    items = list(enumerate(sizes))
    groups = [list(group) for group in groups_in_memory(iter(items), lambda item: item[1], num_held, limit)]
    assert [item for group in groups for item in group] == items
    for group in groups:
        assert group
        for end in range(1, len(group) + 1):
            held = [size for _, size in group[max(0, end - num_held) : end]]
            assert sum(held) <= limit or held[-1] == 0 or sum(held[:-1]) == 0


def test_runs_are_consecutive_items_of_one_key() -> None:
    assert list(runs("aabbbba", str, max_length=3)) == [["a", "a"], ["b", "b", "b"], ["b"], ["a"]]


def test_a_window_counts_what_items_weigh() -> None:
    started: list[int] = []

    def start(weight: int) -> int:
        started.append(weight)
        return weight

    def items() -> Iterator[int]:
        for weight in (3, 1, 4, 1, 5, 9, 2):
            taken.append(weight)
            yield weight

    taken: list[int] = []
    with thread_pool(1) as pool:
        results = prefetch(start, items(), pool=pool, window=5, weight=lambda weight: weight)
        assert next(results) == 3
        assert taken == [3, 1, 4]
        assert list(results) == [1, 4, 1, 5, 9, 2]
    assert started == [3, 1, 4, 1, 5, 9, 2]
