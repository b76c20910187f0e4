"""How `mien predict` prints prediction sets: what is in them, or what is not, whichever is shorter."""

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
