"""How `mien predict` prints prediction sets, the shorter list; and what "not sure" says of labels."""

import pytest

from mien.cli.render.results import render_prediction
from mien.types import Prediction


@pytest.mark.parametrize(
    ("contained", "printed"),
    [
        ("a", "1 of 4 labels: a"),
        ("ab", "2 of 4 labels: a, b"),
        ("abd", "3 of 4 labels: all but c"),
        ("abcd", "4 of 4 labels: all"),
    ],
)
def test_the_shorter_list_is_printed(contained: str, printed: str) -> None:
    found = Prediction(
        subject_id="s",
        label_set="own",
        scores=dict.fromkeys("abcd", 0.5),
        prediction_set=tuple(contained),
        coverage=0.9,
    )
    assert f"  90% prediction set, {printed}" in render_prediction(found, 2).splitlines()


@pytest.mark.parametrize(
    ("threshold", "above", "doubt"),
    [
        (
            0.4,
            "a, b",
            "the highest score is below 0.700, so that the labels above their thresholds are guesses",
        ),
        (0.6, "none", "the highest score is below 0.700"),
    ],
)
def test_labels_above_their_thresholds_are_guesses_if_the_model_is_not_sure(
    threshold: float, above: str, doubt: str
) -> None:
    found = Prediction(
        subject_id="s",
        label_set="own",
        scores={"a": 0.5, "b": 0.45, "c": 0.1},
        thresholds=dict.fromkeys("abc", threshold),
        min_confidence=0.7,
    )
    lines = render_prediction(found, 2).splitlines()
    assert lines[3:] == [f"  above threshold: {above}", f"  not sure: {doubt}"]
