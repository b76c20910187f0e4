"""What a describe run has to do, and what it will take: subjects, tokens, time, cost, disk space."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.engines import RecordingEngine

from mien.describe import preflight as preflight_module
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.preflight import Preflight, Rates, Survey, estimate, survey
from mien.describe.progress import Progress
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.types import Box, Subject

Make = Callable[..., list[Subject]]
RATES = Rates(image_size=28, max_new_tokens=50)


@pytest.fixture
def request_builder(request_options: dict[str, Any]) -> RequestBuilder:
    return RequestBuilder(engine=FakeEngine(), **request_options)


def preflight(
    subjects: Any, request_builder: RequestBuilder, store: Store | None, **options: Any
) -> Preflight:
    found = survey(lambda: subjects, request_builder, store, retry_failed=options.pop("retry_failed", False))
    options.setdefault("store_path", Path("store.sqlite") if store is None else store.path)
    return estimate(found, request_builder, store, **{"rates": RATES, **options})


def finish(found: Survey, request_builder: RequestBuilder, store: Store, **options: Any) -> tuple[int, ...]:
    """Describes what a survey has left, and returns how many were done, skipped, and failed."""
    counts: dict[str, Any] = {"total": found.total, "skipped": found.described, "failed": found.failed}
    summary = describe(found.remaining, request_builder, store, **counts, **options)
    return summary.done, summary.skipped, summary.failed


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


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten subjects are looked up at once until five are open, and five of the others."""
    for name, number in (("_GROUP", 10), ("_MAX_REMEMBERED", 5), ("_SAMPLE_SIZE", 5)):
        monkeypatch.setattr(preflight_module, name, number)


class Stream:
    """Makes subjects, and counts them."""

    def __init__(self, people: list[Subject]) -> None:
        self.people, self.num_made = people, 0

    def __call__(self) -> Iterator[Subject]:
        for person in self.people:
            self.num_made += 1
            yield person


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("small_groups")
def test_subjects_are_made_once_if_few_are_open(
    subjects: Make, store: Store, request_options: dict[str, Any], workers: int
) -> None:
    engine, people = RecordingEngine(FakeEngine()), subjects(40)
    request_builder = RequestBuilder(engine=engine, **request_options)
    describe([*people[:22], *people[25:]], request_builder, store)
    engine.calls.clear()
    stream, seen = Stream(people), list[Progress]()
    found = survey(stream, request_builder, store, workers=workers, on_progress=seen.append)
    assert (found.total, found.open, found.exact, found.described) == (40, 3, True, 37)
    assert [progress.skipped for progress in seen] == [10, 20, 27, 37]
    assert engine.calls == []
    assert finish(found, request_builder, store) == (3, 37, 0)
    assert engine.subject_ids == ["s22", "s23", "s24"]
    assert stream.num_made == 40


@pytest.mark.usefixtures("small_groups")
def test_those_behind_many_open_ones_are_made_again(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine, people = RecordingEngine(FakeEngine()), subjects(40)
    request_builder = RequestBuilder(engine=engine, **request_options)
    describe(people[:13], request_builder, store)
    engine.calls.clear()
    stream = Stream(people)
    found = survey(stream, request_builder, store)
    assert (found.total, found.open, found.exact, found.described) == (40, 27, False, 13)
    assert stream.num_made == 40
    assert finish(found, request_builder, store) == (27, 13, 0)
    assert engine.subject_ids == [person.id for person in people[13:]]
    assert stream.num_made == 80


@pytest.mark.usefixtures("small_groups")
def test_the_others_of_a_large_dataset_are_sampled_evenly(
    subjects: Make, store: Store, request_builder: RequestBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = subjects(40)
    describe(people[20:], request_builder, store)
    # The described subjects come last.
    many, num_keys, keys = [person for person in people for _ in range(50)], 0, RequestBuilder.keys

    def counted(self: RequestBuilder, subjects: list[Subject]) -> Any:
        nonlocal num_keys
        num_keys += len(subjects)
        return keys(self, subjects)

    monkeypatch.setattr(RequestBuilder, "keys", counted)
    monkeypatch.setattr(preflight_module, "_SAMPLE_SIZE", 400)
    found = survey(lambda: iter(many), request_builder, store)
    assert num_keys == 10 + 400
    assert (found.total, found.exact) == (2000, False)
    assert found.open == pytest.approx(1000, rel=0.15)
    found = survey(lambda: iter(many), request_builder, store, all_looked_up=True)
    assert (found.open, found.exact, list(found.remaining)) == (1000, True, [])


def test_what_has_changed_since_is_described_again(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine, people = RecordingEngine(FakeEngine()), subjects(6)
    request_builder = RequestBuilder(engine=engine, **request_options)
    describe(people, request_builder, store)
    engine.calls.clear()
    Image.new("RGB", (32, 24), "green").save(people[1].images[0].path)
    people[3] = replace(people[3], boxes=(Box(left=4, top=4, right=20, bottom=20.5),))
    found = survey(lambda: people, request_builder, store)
    assert finish(found, request_builder, store) == (2, 4, 0)
    assert engine.subject_ids == ["s1", "s3"]
    other = RequestBuilder(engine=engine, **{**request_options, "prompt": get_prompt("caption")})
    assert survey(lambda: people, other, store).open == 6


def test_failures_are_remembered_as_they_are_now(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(5)
    request_builder = RequestBuilder(engine=FakeEngine(FakeOptions(refuse=("s0",))), **request_options)
    people[1].images[0].path.unlink()
    people[2].images[0].path.unlink()
    describe(people, request_builder, store)
    Image.new("RGB", (32, 24)).save(people[1].images[0].path)
    people[2].images[0].path.mkdir()
    found = survey(lambda: people, request_builder, store)
    assert (found.described, found.failed, found.open) == (2, 1, 1)
    assert finish(found, request_builder, store) == (1, 2, 2)
    errors = {failure.subject_id: failure.error for failure in store.failures()}
    assert set(errors) == {"s0", "s2"}
    assert "folder" in errors["s2"], errors
    again = survey(lambda: people, request_builder, store, retry_failed=True)
    assert (again.described, again.failed, again.open) == (3, 0, 2)


@pytest.mark.usefixtures("small_groups")
def test_a_stop_ends_the_survey(subjects: Make, store: Store, request_builder: RequestBuilder) -> None:
    people = subjects(40)
    describe(people, request_builder, store)
    stream = Stream(people)
    found = survey(stream, request_builder, store, stop=lambda: stream.num_made >= 20)
    assert (found.total, found.described, list(found.remaining), stream.num_made) == (20, 20, [], 20)


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
