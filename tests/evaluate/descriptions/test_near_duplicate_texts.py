"""Near-duplicate texts, counted by hand."""

from __future__ import annotations

import random

from mien.evaluate.descriptions.near_duplicate_texts import find_near_duplicates


def _text(rng: random.Random, length: int = 100) -> list[str]:
    return [f"w{rng.randrange(5000)}" for _ in range(length)]


def test_case_and_punctuation_do_not_count() -> None:
    found = find_near_duplicates(["A man waits.", "**a man** waits", "A man sits.", "A dog."])
    assert found is not None
    assert (found.n, found.distinct, found.identical, found.near) == (4, 3, 0.5, 0.5)
    assert (found.most_common, found.most_common_count) == ("A man waits.", 2)
    assert find_near_duplicates([]) is None


def test_near_duplicates_share_four_fifths_of_their_runs() -> None:
    rng = random.Random(0)
    texts = []
    for _ in range(40):
        one = _text(rng)
        # Each changed word spoils five of the 96 runs: two leave a similarity of 0.81, five of 0.59.
        near, far = one.copy(), one.copy()
        for place in (20, 60):
            near[place] = "x"
        for place in (10, 30, 50, 70, 90):
            far[place] = "y"
        texts += [" ".join(one), " ".join(near), " ".join(far)]
    found = find_near_duplicates(texts)
    assert found is not None
    assert (found.identical, found.distinct) == (0.0, 120)
    # Two of three are near-duplicates; the bands may miss a pair or two.
    assert 0.6 <= found.near <= 2 / 3


def test_texts_that_only_begin_alike_are_not_near_duplicates() -> None:
    rng = random.Random(1)
    opening = "based on the image context the most suitable emotion for the person in the box is"
    found = find_near_duplicates([f"{opening} {' '.join(_text(rng, 60))}" for _ in range(200)])
    assert found is not None
    assert (found.identical, found.near, found.most_common_count) == (0.0, 0.0, 1)


def test_a_filled_in_template_is_one_group() -> None:
    rng = random.Random(2)
    base = _text(rng)
    found = find_near_duplicates([f"{' '.join(base)} number {number}" for number in range(500)])
    assert found is not None
    assert (found.distinct, found.near) == (500, 1.0)


def test_lone_surrogates_and_texts_without_words_are_accepted() -> None:
    found = find_near_duplicates(["\ud83d!", "...", "***", "a"])
    assert found is not None
    assert (found.most_common_count, found.most_common) == (3, "\\ud83d!")
