"""What is there of a data set, what is missing, and what a run will take."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.engines import RecordingEngine

from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.preflight import Preflight, Rates, look_ahead
from mien.describe.requests import Questioner
from mien.describe.store.status import Stock, take_stock
from mien.describe.store.store import Store
from mien.types import Subject

Make = Callable[..., list[Subject]]
RATES = Rates(image_size=28, max_new_tokens=50)


@pytest.fixture
def questioner(how: dict[str, Any]) -> Questioner:
    return Questioner(engine=FakeEngine(), **how)


def ahead(subjects: Any, questioner: Questioner, store: Store | None, **other: Any) -> Preflight:
    given = {"path": Path("store.sqlite") if store is None else store.path, "rates": RATES, **other}
    return look_ahead(subjects, questioner=questioner, store=store, **given)


# --- Stock ---------------------------------------------------------------------------------------------


def test_stock_counts_what_is_described_failed_and_missing(
    subjects: Make, store: Store, how: dict[str, Any], questioner: Questioner
) -> None:
    people = subjects(12)
    people[3].images[0].path.write_bytes(b"")
    engine = FakeEngine(FakeOptions(refuse=("s1", "s5")))
    describe(people[:8], engine=engine, store=store, **how)
    found = take_stock(people, questioner=questioner, store=store)
    assert (found.subjects, found.described, found.num_failed, found.missing) == (12, 5, 3, 4)
    # One reason for all who were refused, whatever their names.
    assert found.failed["subject ... was refused"] == 2
    assert sorted(found.failed.values()) == [1, 2]


def test_nothing_is_there_without_a_store(subjects: Make, questioner: Questioner) -> None:
    expected = Stock(subjects=3, described=0, missing=3)
    assert take_stock(subjects(3), questioner=questioner, store=None) == expected


def test_nobody_is_asked_and_nothing_written(subjects: Make, store: Store, how: dict[str, Any]) -> None:
    engine = RecordingEngine(FakeEngine())
    take_stock(subjects(3), questioner=Questioner(engine=engine, **how), store=store)
    ahead(subjects(3), Questioner(engine=engine, **how), store)
    assert engine.calls == []
    assert [*store, *store.failures()] == []


# --- Preflight -----------------------------------------------------------------------------------------


def test_open_questions_are_counted(
    subjects: Make, store: Store, how: dict[str, Any], questioner: Questioner
) -> None:
    people = subjects(10)
    describe(people[:4], engine=FakeEngine(FakeOptions(refuse=("s0",))), store=store, **how)
    found = ahead(people, questioner, store)
    assert (found.total, found.open, found.exact) == (10, 6, True)
    assert ahead(people, questioner, store, retry_failed=True).open == 7
    assert ahead(people[:4], questioner, store).open == 0


def test_tokens_cost_and_time_follow_from_the_count(subjects: Make, questioner: Questioner) -> None:
    rates = Rates(image_size=28, max_new_tokens=50, per_second=2.0, price=(1.0, 10.0))
    found = ahead(subjects(8), questioner, None, rates=rates)
    # Four patches of 14 pixels, and the question at four characters a token.
    assert found.tokens_in == 8 * (4 + len(questioner.wording) // 4)
    assert found.tokens_out == 8 * 50
    assert found.seconds == 4.0
    assert found.cost == pytest.approx((found.tokens_in + 10 * found.tokens_out) / 1e6)
    assert found.disk_free > 0


def test_what_nobody_knows_is_none(subjects: Make, questioner: Questioner) -> None:
    found = ahead(subjects(2), questioner, None)
    assert found.seconds is found.cost is None


def test_the_length_of_answers_is_learned_from_those_there_are(
    subjects: Make, store: Store, how: dict[str, Any], questioner: Questioner
) -> None:
    people = subjects(8)
    describe(people[:4], engine=FakeEngine(), store=store, **how)
    mean = sum(len(row.text) for row in store) / 4
    assert ahead(people, questioner, store).tokens_out == 4 * round(mean / 4)


def test_a_large_set_is_sampled_evenly(
    subjects: Make, store: Store, how: dict[str, Any], questioner: Questioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, looked_up = subjects(40), 0
    describe(people[:20], engine=FakeEngine(), store=store, **how)
    many = [
        person for person in people for _ in range(50)
    ]  # the described first, as in a run that was stopped
    key = Questioner.key

    def counted(self: Questioner, subject: Subject) -> str:
        nonlocal looked_up
        looked_up += 1
        return key(self, subject)

    monkeypatch.setattr(Questioner, "key", counted)
    found = ahead(iter(many), questioner, store, sample=400)
    assert looked_up == 400
    assert (found.total, found.exact) == (2000, False)
    assert found.open == pytest.approx(1000, rel=0.15)
    assert ahead(iter(many), questioner, store, sample=None).open == 1000


@pytest.mark.parametrize("sample", [100, None])
def test_the_subjects_are_gone_through_once(
    questioner: Questioner, subjects: Make, sample: int | None
) -> None:
    [person], taken = subjects(1), 0

    def stream() -> Iterator[Subject]:
        nonlocal taken
        for _ in range(3000):
            taken += 1
            yield person

    assert ahead(stream(), questioner, None, sample=sample).total == taken == 3000


def test_a_disk_that_is_too_small_is_noticed(
    subjects: Make, questioner: Questioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ahead(subjects(3), questioner, None).fits
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert not ahead(subjects(3), questioner, None).fits


def test_the_store_may_be_in_a_folder_that_is_not_there_yet(
    tmp_path: Path, subjects: Make, questioner: Questioner
) -> None:
    assert ahead(subjects(1), questioner, None, path=tmp_path / "a" / "b" / "store.sqlite").disk_free > 0
