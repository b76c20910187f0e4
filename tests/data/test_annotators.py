"""Combining annotators: union, majority and shares, against plain counting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mien.data.annotators import combine_labels

LABELS = ("calm", "tense", "weary", "proud")
ANSWERS = st.lists(st.sets(st.sampled_from(LABELS)), min_size=1, max_size=7)


@given(ANSWERS)
def test_every_way_agrees_with_counting(answers: list[set[str]]) -> None:
    count = {label: sum(label in answer for answer in answers) for label in LABELS}
    assert combine_labels(answers) == {label: 1.0 for label in LABELS if count[label]}
    soft = combine_labels(answers, "soft")
    assert soft == {label: count[label] / len(answers) for label in LABELS if count[label]}
    assert all(0 < share <= 1 for share in soft.values())
    more = {label for label in LABELS if 2 * count[label] > len(answers)}
    most = {label for label in LABELS if count[label] == max(count.values()) > 0}
    assert set(combine_labels(answers, "majority")) == (more or most)


def test_the_order_is_that_of_the_answers() -> None:
    assert list(combine_labels([("weary", "calm"), ("calm", "tense")])) == ["weary", "calm", "tense"]
    assert combine_labels([], "soft") == {}
    assert combine_labels([(), ()], "majority") == {}
