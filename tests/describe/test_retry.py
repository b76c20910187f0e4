"""Asking: poison is isolated by halving, failures are tried a bounded number of times, nothing is lost."""

from collections.abc import Mapping, Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import JsonValue
from tests.factories.engines import RecordingEngine

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.retry import describe_with_retries
from mien.errors import EngineError, WeightsError
from mien.recipe import DescribeOptions, RunOptions


def requests(count: int) -> list[Request]:
    picture = Image.new("RGB", (4, 4))
    return [Request(subject_id=str(n), images=(picture,), prompt=f"{n}?") for n in range(count)]


def engine(
    *, refuse: Sequence[int] = (), poison: Sequence[int] = (), retryable: bool = False
) -> RecordingEngine:
    options = FakeOptions(refuse=tuple(map(str, refuse)), poison=tuple(map(str, poison)), retryable=retryable)
    return RecordingEngine(FakeEngine(options))


class Scripted(Engine):
    """Gives or raises what it is told, call by call."""

    def __init__(self, *script: list[Reply | EngineError] | Exception) -> None:
        self.script = list(script)

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "scripted"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


FINE = Reply(text="fine")
BUSY = EngineError("busy", retryable=True)
BAD = EngineError("bad")


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), st.booleans())
def test_every_item_has_the_outcome_it_would_have_alone(
    count: int, poison: set[int], refuse: set[int], retryable: bool
) -> None:
    one = engine(poison=sorted(poison), refuse=sorted(refuse), retryable=retryable)
    outcomes = describe_with_retries(one, requests(count), max_attempts=3)
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
def test_one_poison_item_costs_two_calls_a_halving(count: int, data: st.DataObject) -> None:
    one = engine(poison=[data.draw(st.integers(0, count - 1))])
    describe_with_retries(one, requests(count))
    assert len(one.calls) <= 1 + 2 * (count - 1).bit_length()


def test_the_items_beside_poison_are_answered_once() -> None:
    one = engine(poison=[5])
    outcomes = describe_with_retries(one, requests(8))
    assert [isinstance(outcome.result, Reply) for outcome in outcomes] == [True] * 5 + [False] + [True] * 2
    # In halves that held no poison, that is.
    assert one.calls == [
        list("01234567"),
        list("0123"),
        list("4567"),
        list("45"),
        list("4"),
        list("5"),
        list("67"),
    ]


def test_no_requests_are_no_call() -> None:
    one = engine()
    assert describe_with_retries(one, []) == []
    assert one.calls == []


def test_a_failure_that_may_pass_is_tried_again_and_passes() -> None:
    [outcome] = describe_with_retries(Scripted([BUSY], BUSY, [FINE]), requests(1), max_attempts=3)
    assert outcome.result == FINE
    assert outcome.attempts == 3
    assert not outcome.engine_failed


def test_a_failure_that_stays_is_tried_so_often_and_no_more() -> None:
    scripted = Scripted(BUSY, [BUSY], BUSY, [FINE])
    [outcome] = describe_with_retries(scripted, requests(1), max_attempts=3)
    assert outcome.result is BUSY
    assert outcome.attempts == 3
    assert outcome.engine_failed
    assert len(scripted.script) == 1


def test_a_failure_for_good_is_not_tried_again() -> None:
    [outcome] = describe_with_retries(Scripted([BUSY], [BAD], [FINE]), requests(1), max_attempts=3)
    assert outcome.result is BAD
    assert outcome.attempts == 2
    assert not outcome.engine_failed


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_answer_is_a_failure(text: str) -> None:
    [outcome] = describe_with_retries(Scripted([Reply(text=text)]), requests(1))
    assert isinstance(outcome.result, EngineError)
    assert "empty" in str(outcome.result)


def test_a_wrong_number_of_replies_fails_the_batch() -> None:
    outcomes = describe_with_retries(Scripted([FINE], [FINE], [FINE, FINE]), requests(2))
    assert outcomes[0].result == FINE
    assert "2 replies to 1 requests" in str(outcomes[1].result)


def test_errors_that_are_not_the_engines_pass_through() -> None:
    with pytest.raises(WeightsError):
        describe_with_retries(Scripted(WeightsError("gone")), requests(2))
