"""What a describe run will take: subjects, tokens, time, cost, disk space."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.factories.engines import RecordingEngine

from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.preflight import Preflight, Rates, estimate
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.types import Subject

Make = Callable[..., list[Subject]]
RATES = Rates(image_size=28, max_new_tokens=50)


@pytest.fixture
def request_builder(request_options: dict[str, Any]) -> RequestBuilder:
    return RequestBuilder(engine=FakeEngine(), **request_options)


def preflight(
    subjects: Any, request_builder: RequestBuilder, store: Store | None, **options: Any
) -> Preflight:
    store_path = Path("store.sqlite") if store is None else store.path
    return estimate(subjects, request_builder, store, **{"store_path": store_path, "rates": RATES, **options})


def test_no_engine_is_called_and_nothing_is_written(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = RecordingEngine(FakeEngine())
    preflight(subjects(3), RequestBuilder(engine=engine, **request_options), store)
    assert engine.calls == []
    assert [*store, *store.failures()] == []


def test_open_subjects_are_counted(
    subjects: Make, store: Store, request_options: dict[str, Any], request_builder: RequestBuilder
) -> None:
    people = subjects(10)
    describe(
        people[:4], RequestBuilder(engine=FakeEngine(FakeOptions(refuse=("s0",))), **request_options), store
    )
    found = preflight(people, request_builder, store)
    assert (found.total, found.open, found.exact) == (10, 6, True)
    assert preflight(people, request_builder, store, retry_failed=True).open == 7
    assert preflight(people[:4], request_builder, store).open == 0


def test_tokens_cost_and_time_follow_from_the_count(subjects: Make, request_builder: RequestBuilder) -> None:
    rates = Rates(image_size=28, max_new_tokens=50, per_second=2.0, price=(1.0, 10.0))
    found = preflight(subjects(8), request_builder, None, rates=rates)
    # Four patches of 14 pixels, and four characters of the prompt per token.
    assert found.tokens_in == 8 * (4 + len(request_builder.prompt_text) // 4)
    assert found.tokens_out == 8 * 50
    assert found.seconds == 4.0
    assert found.cost == pytest.approx((found.tokens_in + 10 * found.tokens_out) / 1e6)
    assert found.disk_free > 0


def test_time_and_cost_are_none_if_unknown(subjects: Make, request_builder: RequestBuilder) -> None:
    found = preflight(subjects(2), request_builder, None)
    assert found.seconds is found.cost is None


def test_the_length_is_estimated_from_stored_descriptions(
    subjects: Make, store: Store, request_options: dict[str, Any], request_builder: RequestBuilder
) -> None:
    people = subjects(8)
    describe(people[:4], RequestBuilder(engine=FakeEngine(), **request_options), store)
    mean = sum(len(row.text) for row in store) / 4
    assert preflight(people, request_builder, store).tokens_out == 4 * round(mean / 4)


def test_a_large_dataset_is_sampled_evenly(
    subjects: Make,
    store: Store,
    request_options: dict[str, Any],
    request_builder: RequestBuilder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people, looked_up = subjects(40), 0
    describe(people[:20], RequestBuilder(engine=FakeEngine(), **request_options), store)
    # The described subjects come first, as in a run that was stopped.
    many = [person for person in people for _ in range(50)]
    stored_keys = RequestBuilder.stored_keys

    def counted(self: RequestBuilder, subjects: Sequence[Subject]) -> list[str]:
        nonlocal looked_up
        looked_up += len(subjects)
        return stored_keys(self, subjects)

    monkeypatch.setattr(RequestBuilder, "stored_keys", counted)
    found = preflight(iter(many), request_builder, store, sample_size=400)
    assert looked_up == 400
    assert (found.total, found.exact) == (2000, False)
    assert found.open == pytest.approx(1000, rel=0.15)
    assert preflight(iter(many), request_builder, store, sample_size=None).open == 1000


@pytest.mark.parametrize("sample", [100, None])
def test_the_subjects_are_read_once(
    request_builder: RequestBuilder, subjects: Make, sample: int | None
) -> None:
    [person], num_read = subjects(1), 0

    def stream() -> Iterator[Subject]:
        nonlocal num_read
        for _ in range(3000):
            num_read += 1
            yield person

    assert preflight(stream(), request_builder, None, sample_size=sample).total == num_read == 3000


def test_too_little_disk_space_is_noticed(
    subjects: Make, request_builder: RequestBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preflight(subjects(3), request_builder, None).fits
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert not preflight(subjects(3), request_builder, None).fits


def test_the_folder_of_the_store_may_not_exist_yet(
    tmp_path: Path, subjects: Make, request_builder: RequestBuilder
) -> None:
    assert (
        preflight(
            subjects(1), request_builder, None, store_path=tmp_path / "a" / "b" / "store.sqlite"
        ).disk_free
        > 0
    )
