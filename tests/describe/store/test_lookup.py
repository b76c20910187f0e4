"""Looking up descriptions and counting subjects by status."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from tests.factories.engines import RecordingEngine

from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import StoreStatus, count_by_status, lookup_descriptions
from mien.describe.store.store import Store
from mien.media.images import Marking
from mien.types import Failure, Subject

Make = Callable[..., list[Subject]]


def test_described_missing_and_failed_subjects_are_distinguished(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(5)
    describe(
        people[:3], RequestBuilder(engine=FakeEngine(FakeOptions(refuse=("s1",))), **request_options), store
    )
    engine = RecordingEngine(FakeEngine())
    found = lookup_descriptions(people, RequestBuilder(engine=engine, **request_options), store)
    assert list(found.descriptions) == ["s0", "s2"]
    assert found.missing == ("s3", "s4")
    assert [failure.subject_id for failure in found.failures] == ["s1"]
    assert isinstance(found.failures[0], Failure)
    assert engine.calls == []


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": get_prompt("caption")},
        {"marking": Marking(style="crop")},
        {"engine": FakeEngine(FakeOptions(num_words=4))},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_descriptions_made_with_other_options_are_not_found(
    subjects: Make, store: Store, request_options: dict[str, Any], changed: dict[str, Any]
) -> None:
    people = subjects(2)
    options: dict[str, Any] = {"engine": FakeEngine(), **request_options}
    describe(people, RequestBuilder(**options), store)
    assert lookup_descriptions(people, RequestBuilder(**options), store).missing == ()
    assert lookup_descriptions(people, RequestBuilder(**{**options, **changed}), store).missing == (
        "s0",
        "s1",
    )


def test_a_changed_image_under_the_same_path_is_not_found(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    [person] = subjects(1)
    describe([person], RequestBuilder(engine=FakeEngine(), **request_options), store)
    Image.new("RGB", (32, 24), "black").save(person.images[0].path)
    assert lookup_descriptions(
        [person], RequestBuilder(engine=FakeEngine(), **request_options), store
    ).missing == ("s0",)


# --- Status -------------------------------------------------------------------------------------------


def test_subjects_are_counted_by_status(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(12)
    people[3].images[0].path.write_bytes(b"")
    engine = FakeEngine(FakeOptions(refuse=("s1", "s5")))
    describe(people[:8], RequestBuilder(engine=engine, **request_options), store)
    found = count_by_status(people, RequestBuilder(engine=engine, **request_options), store)
    assert (found.subjects, found.described, found.num_failed, found.missing) == (12, 5, 3, 4)
    # Failures that differ only in the subject share a reason.
    reason, number = max(found.failed.items(), key=lambda pair: pair[1])
    assert reason.startswith("subject ... was refused")
    assert number == 2
    assert sorted(found.failed.values()) == [1, 2]


def test_without_a_store_everything_is_missing(subjects: Make, request_options: dict[str, Any]) -> None:
    expected = StoreStatus(subjects=3, described=0, missing=3)
    assert (
        count_by_status(subjects(3), RequestBuilder(engine=FakeEngine(), **request_options), None) == expected
    )


def test_counting_calls_no_engine_and_writes_nothing(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = RecordingEngine(FakeEngine())
    count_by_status(subjects(3), RequestBuilder(engine=engine, **request_options), store)
    assert engine.calls == []
    assert [*store, *store.failures()] == []
