"""The section on when the model is not sure: the curve in percent, the same in words, and the sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.factories.html_pages import read_page

from mien.evaluate.results.results import AbstentionRow, SetRow
from mien.report.run.page import write_report
from mien.report.run.uncertainty import uncertainty_section

EVERYONE = AbstentionRow(
    name="fused",
    split="test",
    answered=1.0,
    value=0.6,
    low=0.55,
    high=0.65,
    gain=0.0,
    gain_low=0.0,
    gain_high=0.0,
    n=1200,
)
HALF = replace(EVERYONE, answered=0.5, value=0.8, low=None, high=None, gain=0.2, gain_low=0.1, n=600)
FITTED = replace(HALF, answered=0.43, fitted_on="val", min_confidence=0.7)
SETS = SetRow(
    name="fused",
    split="test",
    coverage=0.9,
    value=0.893,
    low=0.88,
    high=0.91,
    size=3.14,
    single=0.25,
    complete=0.5,
    labels=26,
    n=1200,
    fitted_on="val",
    likely_low=0.85,
    likely_high=0.94,
    is_default=True,
)


def test_points_are_in_percent_and_in_words() -> None:
    rows = (EVERYONE, replace(HALF, gain_high=0.3), FITTED, replace(HALF, split="val"))
    found = uncertainty_section(rows, (SETS,), split="test", exclusive=False)
    assert found is not None
    assert [(point.left, point.who) for point in found.points] == [
        (50.0, "the surest 50%"),
        (100.0, "everyone"),
    ]
    half, everyone = found.points
    assert half.top < everyone.top  # higher on the page
    assert (half.low, everyone.gain) == (None, "")
    assert half.is_clear
    assert not everyone.is_clear
    assert found.text == "everyone: 0.600; the surest 50%: 0.800"
    assert found.everyone_top == everyone.top
    assert found.fitted is not None
    assert (found.fitted.who, found.fitted_on, found.min_confidence) == (
        "score from 0.700 on",
        "val",
        "0.700",
    )
    (line,) = found.sets
    assert (line.stated, line.found, line.size, line.complete) == ("90%", "0.893", "3.1", "50%")


def test_a_run_without_such_results_has_no_section() -> None:
    assert uncertainty_section((), (SETS,), split="test", exclusive=True) is None
    assert uncertainty_section((EVERYONE,), (), split="val", exclusive=True) is None
    found = uncertainty_section((EVERYONE,), (), split="test", exclusive=True)
    assert found is not None
    assert (found.fitted, found.fitted_on, found.sets) == (None, "", ())


def test_the_page_shows_the_curve_and_what_sets_promise(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    for words in (
        "When the model is not sure",
        "people who get an answer",
        "the surest 50%",
        "Prediction sets",
        "for each label alone",
        "That a set has all labels of a person is not promised.",
        "90% (in predictions)",
    ):
        assert words in page.text, words
    labels = [str(attributes.get("aria-label")) for _, attributes in page.tags]
    assert any(
        label.startswith("Accuracy of the best label by who gets an answer: everyone: ") for label in labels
    )


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_section_says_whether_one_label_holds(exclusive: bool) -> None:
    found = uncertainty_section((EVERYONE, FITTED), (SETS,), split="test", exclusive=exclusive)
    assert found is not None
    assert found.exclusive is exclusive
