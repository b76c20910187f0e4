"""Describing: each subject once, failures stored, memory bounded, a broken engine detected."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.factories.engines import RecordingEngine
from tests.factories.subjects import MARKED_BOX

from mien.describe.engine import EngineWrapper, Reply, Request, TokenUsage
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.progress import Progress, TokenTotals
from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.types import Box, ImageRef, Subject

Make = Callable[..., list[Subject]]


def recording(**options: Any) -> RecordingEngine:
    return RecordingEngine(FakeEngine(FakeOptions(**options)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_every_subject_is_described_once(
    subjects: Make, store: Store, request_options: dict[str, Any], batch_size: int, workers: int
) -> None:
    engine, people = recording(), subjects(11)
    request_builder = RequestBuilder(engine=engine, **request_options)
    options: dict[str, Any] = {"batch_size": batch_size, "workers": workers}
    summary = describe(people, request_builder, store, **options)
    assert (summary.done, summary.skipped, summary.failed, summary.num_requests) == (11, 0, 0, 11)
    assert engine.subject_ids == [person.id for person in people]
    assert max(map(len, engine.calls)) == min(batch_size, 11)
    assert len({item.text for item in store}) == 11
    again = describe(people, request_builder, store, **options)
    assert (again.done, again.skipped, again.failed, again.num_requests) == (0, 11, 0, 0)
    assert len(engine.subject_ids) == 11


class CountingEngine(EngineWrapper):
    """Counts 100 tokens that it reads and 7 that it writes, and for every fourth person only reasons."""

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        usage = TokenUsage(prompt=100, completion=7)
        return [
            reply
            if isinstance(reply, EngineError)
            else replace(
                reply, text="<think>well" if request.subject_id in ("s3", "s7") else reply.text, usage=usage
            )
            for request, reply in zip(requests, self.inner.describe(requests), strict=True)
        ]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_tokens_of_all_replies_are_counted(
    subjects: Make, store: Store, request_options: dict[str, Any], batch_size: int
) -> None:
    engine = CountingEngine(FakeEngine(FakeOptions(refuse=("s1",))))
    builder = RequestBuilder(engine=engine, **request_options)
    summary = describe(subjects(9), builder, store, batch_size=batch_size)
    assert (summary.done, summary.failed) == (6, 3)
    # One request had no reply. Two replies hold no description, but have cost something.
    assert summary.tokens == TokenTotals(replies=8, prompt=800, completion=56)
    assert describe(subjects(9), builder, store).tokens is None  # nothing was asked


def test_texts_do_not_depend_on_the_batch_size(
    subjects: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    people, found = subjects(9), []
    for size in (1, 2, 5):
        with Store(tmp_path / f"{size}.sqlite") as store:
            describe(
                reversed(people),
                RequestBuilder(engine=FakeEngine(), **request_options),
                store,
                batch_size=size,
            )
            found.append(list(store))
    assert found[0] == found[1] == found[2]


def test_only_new_subjects_are_described(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine, people = recording(), subjects(10)
    describe(people[::2], RequestBuilder(engine=engine, **request_options), store)
    engine.calls.clear()
    summary = describe(people, RequestBuilder(engine=engine, **request_options), store)
    assert (summary.done, summary.skipped) == (5, 5)
    assert engine.subject_ids == [person.id for person in people[1::2]]


def test_a_description_records_its_origin(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    describe(subjects(1), RequestBuilder(engine=FakeEngine(), **request_options), store)
    [item] = store
    assert item.subject_id == "s0"
    assert item.prompt_id == "paper"
    assert item.engine.startswith("fake@")


def test_subjects_without_a_box_get_the_counterpart_of_the_prompt(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = recording()
    describe(
        [*subjects(1), *subjects(1, start=1, box=None)],
        RequestBuilder(engine=engine, **request_options),
        store,
    )
    boxed = dict(zip(engine.subject_ids, ("red box" in prompt for prompt in engine.prompts), strict=True))
    assert boxed == {"s0": True, "s1": False}
    assert {item.subject_id: item.prompt_id for item in store} == {"s0": "paper", "s1": "paper_no_box"}


def test_two_people_in_one_photo_are_described_separately(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    path = subjects(1)[0].images[0].path
    other = Box(left=10, top=4, right=28, bottom=22)
    people = [Subject.still("a", path, MARKED_BOX), Subject.still("b", path, other)]
    describe(people, RequestBuilder(engine=FakeEngine(), **request_options), store)
    assert len({item.text for item in store}) == 2


@pytest.mark.parametrize("batch_size", [1, 8])
def test_subjects_with_the_same_key_share_a_request(
    subjects: Make, store: Store, request_options: dict[str, Any], batch_size: int
) -> None:
    engine, [first] = recording(), subjects(1)
    twin = Subject(id="twin", images=first.images, boxes=first.boxes)
    people = [first, twin, *subjects(3, start=1), twin]
    summary = describe(
        people, RequestBuilder(engine=engine, **request_options), store, batch_size=batch_size, workers=1
    )
    assert summary.done + summary.skipped == 6
    assert summary.num_requests == len(engine.subject_ids) == 4
    found = lookup_descriptions([first, twin], RequestBuilder(engine=engine, **request_options), store)
    assert found.descriptions["twin"].subject_id == "twin"
    assert found.texts["twin"] == found.texts["s0"]


# --- Failures ------------------------------------------------------------------------------------------


def test_a_failure_is_stored_and_skipped_until_a_retry(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(6)
    summary = describe(
        people, RequestBuilder(engine=recording(refuse=("s2",), poison=("s4",)), **request_options), store
    )
    assert (summary.done, summary.failed) == (4, 2)
    assert sorted(item.subject_id for item in store.failures()) == ["s2", "s4"]
    fixed = recording()
    summary = describe(people, RequestBuilder(engine=fixed, **request_options), store)
    assert (summary.done, summary.skipped, summary.failed) == (0, 4, 2)
    assert fixed.subject_ids == []
    summary = describe(people, RequestBuilder(engine=fixed, **request_options), store, retry_failed=True)
    assert (summary.done, summary.skipped, summary.failed) == (2, 4, 0)
    assert fixed.subject_ids == ["s2", "s4"]
    assert store.failures() == []


def test_a_retryable_failure_records_its_attempts(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    describe(
        subjects(2),
        RequestBuilder(engine=recording(refuse=("s1",), retryable=True), **request_options),
        store,
        max_attempts=4,
    )
    [failure] = store.failures()
    assert failure.retryable
    assert failure.attempts == 4
    assert "refused" in failure.error


def test_broken_images_and_boxes_are_failures_with_reasons(
    subjects: Make, store: Store, request_options: dict[str, Any], tmp_path: Path
) -> None:
    engine, fine = recording(), subjects(2)
    (tmp_path / "torn.png").write_bytes(fine[0].images[0].path.read_bytes()[:40])
    outside = Box(left=500, top=500, right=600, bottom=600)
    clip = Subject(id="clip", images=(ImageRef(path=fine[0].images[0].path, frame=3),), boxes=(MARKED_BOX,))
    broken = [
        Subject.still("gone", tmp_path / "gone.png"),
        Subject.still("torn", tmp_path / "torn.png", MARKED_BOX),
        Subject.still("outside", fine[0].images[0].path, outside),
        clip,
    ]
    summary = describe([fine[0], *broken, fine[1]], RequestBuilder(engine=engine, **request_options), store)
    assert (summary.done, summary.failed) == (2, 4)
    assert engine.subject_ids == ["s0", "s1"]
    reasons = {item.subject_id: item.error for item in store.failures()}
    assert set(reasons) == {"gone", "torn", "outside", "clip"}
    assert "no image at" in reasons["gone"]
    assert "outside the image" in reasons["outside"]


def test_an_image_that_appears_later_is_described_without_a_retry_option(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    [person] = subjects(1)
    data = person.images[0].path.read_bytes()
    person.images[0].path.unlink()
    assert describe([person], RequestBuilder(engine=FakeEngine(), **request_options), store).failed == 1
    assert (
        lookup_descriptions([person], RequestBuilder(engine=FakeEngine(), **request_options), store)
        .failures[0]
        .subject_id
        == "s0"
    )
    person.images[0].path.write_bytes(data)
    assert describe([person], RequestBuilder(engine=FakeEngine(), **request_options), store).done == 1
    assert store.failures() == []


def test_an_engine_that_always_fails_ends_the_run_and_stores_no_failure(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(60)
    broken = recording(poison=tuple(person.id for person in people[20:]))
    with pytest.raises(EngineError, match="in a row") as caught:
        describe(people, RequestBuilder(engine=broken, **request_options), store, batch_size=4)
    assert caught.value.hint
    assert len(store) == 20
    assert store.failures() == []
    assert describe(people, RequestBuilder(engine=recording(), **request_options), store).done == 40


def test_a_few_consecutive_poison_items_are_stored_as_failures(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(24)
    engine = recording(poison=tuple(person.id for person in people[4:19]))
    summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=4)
    assert (summary.done, summary.failed) == (9, 15)


def test_poison_items_at_the_end_are_stored_as_failures(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    summary = describe(
        subjects(5), RequestBuilder(engine=recording(poison=("s3", "s4")), **request_options), store
    )
    assert (summary.done, summary.failed) == (3, 2)
    assert len(store.failures()) == 2


def test_descriptions_before_an_interruption_are_kept(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    people = subjects(12)

    def stop(progress: Progress) -> None:
        if progress.done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe(
            people,
            RequestBuilder(engine=FakeEngine(), **request_options),
            store,
            batch_size=4,
            on_progress=stop,
        )
    assert len(store) == 4


# --- Streaming and progress ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_subjects_are_read_as_they_are_needed(
    subjects: Make, store: Store, request_options: dict[str, Any], workers: int
) -> None:
    people, num_read, ahead = subjects(300), 0, []

    def stream() -> Iterator[Subject]:
        nonlocal num_read
        for person in people:
            num_read += 1
            yield person

    def listen(progress: Progress) -> None:
        ahead.append(num_read - progress.num_processed)

    request_builder = RequestBuilder(engine=FakeEngine(), **request_options)
    describe(stream(), request_builder, store, batch_size=4, workers=workers, on_progress=listen)
    # One chunk is looked up, another is read, and two batches are prepared.
    assert max(ahead) <= 2 * 64 + 3 * 4


def test_progress_counts_up_to_the_end(subjects: Make, store: Store, request_options: dict[str, Any]) -> None:
    reports: list[Progress] = []
    people = subjects(10)
    describe(people[:3], RequestBuilder(engine=FakeEngine(), **request_options), store)
    engine = recording(refuse=("s5",))
    request_builder = RequestBuilder(engine=engine, **request_options)
    describe(people, request_builder, store, batch_size=2, total=10, on_progress=reports.append)
    processed = [progress.num_processed for progress in reports]
    assert processed == sorted(processed)
    assert (reports[-1].done, reports[-1].skipped, reports[-1].failed, reports[-1].total) == (6, 3, 1, 10)


def test_an_empty_input_does_nothing(store: Store, request_options: dict[str, Any]) -> None:
    summary = describe([], RequestBuilder(engine=FakeEngine(), **request_options), store)
    assert (summary.done, summary.skipped, summary.failed) == (0, 0, 0)
