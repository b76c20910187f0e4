"""Retries isolate poison items by halving, are limited in number, and lose nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.factories.engines import RecordingEngine, ScriptedEngine

from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.retry import describe_with_retries
from mien.errors import EngineError, WeightsError


def requests(count: int) -> list[Request]:
    image = Image.new("RGB", (4, 4))
    return [Request(subject_id=str(n), images=(image,), prompt=f"{n}?") for n in range(count)]


def make_engine(
    *, refuse: Sequence[int] = (), poison: Sequence[int] = (), retryable: bool = False
) -> RecordingEngine:
    options = FakeOptions(refuse=tuple(map(str, refuse)), poison=tuple(map(str, poison)), retryable=retryable)
    return RecordingEngine(FakeEngine(options))


FINE = Reply(text="fine")
BUSY = EngineError("busy", retryable=True)
BAD = EngineError("bad")


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), st.booleans())
def test_every_item_has_the_outcome_that_it_has_alone(
    count: int, poison: set[int], refuse: set[int], retryable: bool
) -> None:
    recording = make_engine(poison=sorted(poison), refuse=sorted(refuse), retryable=retryable)
    outcomes = describe_with_retries(recording, requests(count), max_attempts=3)
    plain = FakeEngine().describe(requests(count))
    assert len(outcomes) == count
    for number, outcome in enumerate(outcomes):
        failed = number in poison or number in refuse
        assert isinstance(outcome.result, EngineError) == failed
        assert outcome.engine_failed == (number in poison)
        assert outcome.attempts == (3 if failed and retryable else 1)
        if not failed:
            assert outcome.result == plain[number]


@given(st.integers(1, 64), st.data())
def test_one_poison_item_costs_two_calls_per_halving(count: int, data: st.DataObject) -> None:
    recording = make_engine(poison=[data.draw(st.integers(0, count - 1))])
    describe_with_retries(recording, requests(count))
    assert len(recording.calls) <= 1 + 2 * (count - 1).bit_length()


def test_the_items_next_to_poison_are_answered_once() -> None:
    recording = make_engine(poison=[5])
    outcomes = describe_with_retries(recording, requests(8))
    assert [isinstance(outcome.result, Reply) for outcome in outcomes] == [True] * 5 + [False] + [True] * 2
    assert recording.calls == [
        list("01234567"),
        list("0123"),
        list("4567"),
        list("45"),
        list("4"),
        list("5"),
        list("67"),
    ]


def test_without_requests_the_engine_is_not_called() -> None:
    recording = make_engine()
    assert describe_with_retries(recording, []) == []
    assert recording.calls == []


def test_a_retryable_failure_is_retried_until_it_passes() -> None:
    [outcome] = describe_with_retries(ScriptedEngine([BUSY], BUSY, [FINE]), requests(1), max_attempts=3)
    assert outcome.result == FINE
    assert outcome.attempts == 3
    assert not outcome.engine_failed


def test_a_retryable_failure_is_retried_up_to_the_limit() -> None:
    scripted = ScriptedEngine(BUSY, [BUSY], BUSY, [FINE])
    [outcome] = describe_with_retries(scripted, requests(1), max_attempts=3)
    assert outcome.result is BUSY
    assert outcome.attempts == 3
    assert outcome.engine_failed
    assert len(scripted.script) == 1


def test_a_permanent_failure_is_not_retried() -> None:
    [outcome] = describe_with_retries(ScriptedEngine([BUSY], [BAD], [FINE]), requests(1), max_attempts=3)
    assert outcome.result is BAD
    assert outcome.attempts == 2
    assert not outcome.engine_failed


@pytest.mark.parametrize("text", ["", "  \n\t", "\ufeff\u200b", "\0"])
def test_an_empty_reply_is_a_failure(text: str) -> None:
    [outcome] = describe_with_retries(ScriptedEngine([Reply(text=text)]), requests(1))
    assert isinstance(outcome.result, EngineError)
    assert "empty" in str(outcome.result)


def test_a_wrong_number_of_replies_fails_the_batch() -> None:
    outcomes = describe_with_retries(ScriptedEngine([FINE], [FINE], [FINE, FINE]), requests(2))
    assert outcomes[0].result == FINE
    assert "2 replies to 1 requests" in str(outcomes[1].result)


def test_errors_of_other_kinds_pass_through() -> None:
    with pytest.raises(WeightsError):
        describe_with_retries(ScriptedEngine(WeightsError("gone")), requests(2))
