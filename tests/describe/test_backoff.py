"""Backoff with full jitter, and `Retry-After` headers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.describe.retry import Backoff, parse_retry_after

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@given(failures=st.integers(1, 5000))
def test_a_pause_is_below_a_bound_that_doubles_up_to_the_cap(failures: int) -> None:
    assert 0 <= Backoff(base=0.5, cap=30).pause(failures) <= min(30, 0.5 * 2 ** min(failures - 1, 10))


def test_pauses_spread_over_the_whole_range() -> None:
    pauses = [Backoff(base=1, cap=8).pause(4) for _ in range(400)]
    assert min(pauses) < 2
    assert max(pauses) > 6


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 12:00:30 -0000", 30.0),
        ("Wed, 01 May 2024 14:00:30 +0200", 30.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 99 May 2024 12:00:30 GMT", None),
    ],
)
def test_retry_after_headers_are_seconds_or_dates(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(value=st.text())
def test_any_header_gives_seconds_or_none(value: str) -> None:
    found = parse_retry_after(value, NOW)
    assert found is None or found >= 0


def test_retry_after_is_honored_up_to_a_limit() -> None:
    backoff = Backoff(max_retry_after=60)
    assert backoff.retry_after("5") == 5
    assert backoff.retry_after("86400") == 60
    assert backoff.retry_after(None) is None
