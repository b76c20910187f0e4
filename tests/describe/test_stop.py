"""After a stop, batches in flight are written, no other is begun, and the next run does the rest."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.factories.engines import RecordingEngine

from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.types import Subject

Make = Callable[..., list[Subject]]


def recording(**options: Any) -> RecordingEngine:
    return RecordingEngine(FakeEngine(FakeOptions(**options)))


@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_stop_the_batch_is_written_and_no_other_is_begun(
    subjects: Make, store: Store, request_options: dict[str, Any], workers: int
) -> None:
    engine = recording()
    request_builder = RequestBuilder(engine=engine, **request_options)
    options: dict[str, Any] = {"batch_size": 3, "workers": workers}
    summary = describe(subjects(20), request_builder, store, stop=lambda: len(engine.calls) >= 2, **options)
    assert engine.subject_ids == [f"s{number}" for number in range(6)]
    assert summary.done == len(store) == 6
    again = describe(subjects(20), request_builder, store, **options)
    assert (again.done, again.skipped) == (14, 6)
    assert len(engine.subject_ids) == len(set(engine.subject_ids)) == 20


def test_a_stop_before_the_start_does_nothing(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine, num_read = recording(), 0

    def stream() -> Iterator[Subject]:
        nonlocal num_read
        for person in subjects(20):
            num_read += 1
            yield person

    summary = describe(stream(), RequestBuilder(engine=engine, **request_options), store, stop=lambda: True)
    assert (summary.done, engine.calls) == (0, [])
    assert num_read <= 1


def test_concurrent_calls_are_awaited(
    subjects: Make, store: Store, request_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = recording(delay=0.01)
    monkeypatch.setattr(RecordingEngine, "calls_at_once", 3)
    describe(
        subjects(30),
        RequestBuilder(engine=engine, **request_options),
        store,
        batch_size=2,
        stop=lambda: len(engine.calls) >= 2,
    )
    assert 4 <= len(engine.subject_ids) < 30
    assert {row.subject_id for row in store} == set(engine.subject_ids)


def test_failures_that_the_engine_may_have_caused_are_not_stored_after_a_stop(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = recording(poison=("s0", "s1", "s2", "s3"))
    describe(
        subjects(8),
        RequestBuilder(engine=engine, **request_options),
        store,
        batch_size=4,
        stop=lambda: bool(engine.calls),
    )
    assert store.failures() == []
