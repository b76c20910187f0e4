"""Scales and ticks of charts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.report.charts import Scale, scale_over


def test_a_scale_contains_zero_and_every_value_in_round_steps() -> None:
    scale = scale_over([0.12, 0.81])
    assert (scale.low, scale.high, scale.step) == (0.0, 1.0, 0.2)
    assert [tick.text for tick in scale.ticks] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [tick.at for tick in scale.ticks] == [0, 20, 40, 60, 80, 100]


def test_a_scale_of_differences_has_a_true_minus_sign_and_no_minus_zero() -> None:
    scale = scale_over([-0.03, 0.18])
    assert [tick.text for tick in scale.ticks] == ["\u22120.05", "0.00", "0.05", "0.10", "0.15", "0.20"]
    assert scale.at(0.0) == 20


def test_steps_of_2_5_have_an_extra_digit() -> None:
    assert [tick.text for tick in scale_over([0.11]).ticks] == [
        "0.000",
        "0.025",
        "0.050",
        "0.075",
        "0.100",
        "0.125",
    ]


def test_values_off_the_axis_are_clamped() -> None:
    scale = Scale(low=0.0, high=1.0, step=0.5)
    assert (scale.at(-3.0), scale.at(0.25), scale.at(7.0)) == (0, 25, 100)
    assert scale.whisker(0.5, None, None).low is None


def test_a_scale_may_leave_out_zero() -> None:
    scale = scale_over([0.21, 0.79, None], with_zero=False)
    assert (scale.low, scale.high) == (0.2, 0.8)
    flat = scale_over([0.5], with_zero=False)
    assert flat.low <= 0.5 <= flat.high
    assert scale_over([None], with_zero=False).low == 0.0


@given(st.lists(st.floats(-10, 10).filter(lambda value: value == 0 or abs(value) > 1e-6), max_size=5))
def test_every_scale_contains_its_values(values: list[float]) -> None:
    scale = scale_over(values)
    for value in [0.0, *values]:
        assert scale.low - 1e-9 <= value <= scale.high + 1e-9
    assert 2 <= len(scale.ticks) <= 8
    texts = [tick.text for tick in scale.ticks]
    assert len(set(texts)) == len(texts)
    assert [tick.at for tick in scale.ticks] == pytest.approx(sorted(tick.at for tick in scale.ticks))
