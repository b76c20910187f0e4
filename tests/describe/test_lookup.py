"""Looking up: what was described comes back to its subjects, and to no others."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from tests.factories.engines import RecordingEngine

from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.prompts import prompt
from mien.describe.store.lookup import look_up
from mien.describe.store.store import Store
from mien.media.images import Marking
from mien.types import Failure, Subject

Make = Callable[..., list[Subject]]


def test_looking_up_tells_described_missing_and_failed_apart(
    subjects: Make, store: Store, how: dict[str, Any]
) -> None:
    people = subjects(5)
    describe(people[:3], engine=FakeEngine(FakeOptions(refuse=("s1",))), store=store, **how)
    engine = RecordingEngine(FakeEngine())
    found = look_up(people, engine=engine, store=store, **how)
    assert list(found.descriptions) == ["s0", "s2"]
    assert found.missing == ("s3", "s4")
    assert [failure.subject_id for failure in found.failures] == ["s1"]
    assert isinstance(found.failures[0], Failure)
    assert engine.calls == []


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": prompt("caption")},
        {"marking": Marking(style="crop")},
        {"engine": FakeEngine(FakeOptions(num_words=4))},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_was_described_otherwise_is_not_found(
    subjects: Make, store: Store, how: dict[str, Any], changed: dict[str, Any]
) -> None:
    people = subjects(2)
    asked: dict[str, Any] = {"engine": FakeEngine(), **how}
    describe(people, store=store, **asked)
    assert look_up(people, store=store, **asked).missing == ()
    assert look_up(people, store=store, **{**asked, **changed}).missing == ("s0", "s1")


def test_another_picture_under_the_same_path_is_not_found(
    subjects: Make, store: Store, how: dict[str, Any]
) -> None:
    [person] = subjects(1)
    describe([person], engine=FakeEngine(), store=store, **how)
    Image.new("RGB", (32, 24), "black").save(person.images[0].path)
    assert look_up([person], engine=FakeEngine(), store=store, **how).missing == ("s0",)
