"""What texts look like: each number worked out by hand."""

from __future__ import annotations

import pytest

from mien.evaluate.descriptions.text_statistics import (
    compute_statistics,
    count_hedges,
    is_english,
    is_refusal,
    is_truncated,
    mentions_person,
    split_words,
)
from mien.types import Finish


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can\u2019t help with that.", True),
        ("As an AI language model, I have no eyes.", True),
        ("**I cannot** identify people.", True),
        ("It is not possible to determine how the person feels.", True),
        ("The man seems sorry; he cannot look away.", False),
        ("As an airplane passes, she looks up.", False),
        ("She smiles. " * 40 + "I cannot say more.", False),
    ],
)
def test_refusals_are_found_at_the_beginning(text: str, refuses: bool) -> None:
    assert is_refusal(text) is refuses


@pytest.mark.parametrize(
    ("text", "truncated"),
    [
        ("She is glad.", False),
        ("She is **glad.**\n", False),
        ('She says: "Go!"', False),
        ("(She is glad.)", False),
        ("\u5979\u5f88\u9ad8\u5174\u3002", False),
        ("She is gl", True),
        ("1. **Face**:", True),
        ("She is,", True),
        ("", True),
    ],
)
def test_a_truncated_text_ends_in_the_middle_of_a_sentence(text: str, truncated: bool) -> None:
    assert is_truncated(text) is truncated


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("The man is standing in the rain and he seems to be waiting for a bus.", True),
        ("Der Mann steht im Regen und wartet offenbar schon lange auf den Bus nach Hause.", False),
        ("L'homme se tient sous la pluie et semble attendre son bus depuis longtemps.", False),
        ("\u4e00\u4e2a\u4eba\u5728\u96e8\u4e2d\u7b49\u8f66\u3002", False),
        ("Happy.", None),
        ("", None),
    ],
)
def test_english_is_detected_by_its_most_frequent_words(text: str, english: bool | None) -> None:
    assert is_english(text) is english


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("A woman smiles.", True),
        ("**His** brows are low.", True),
        ("The person's face is calm.", True),
        ("What is in the box seems sad.", True),
        ("Two children play.", True),
        ("A bouquet of roses, the atmosphere theatrical.", False),
        ("Happy.", False),
    ],
)
def test_a_person_is_mentioned(text: str, person: bool) -> None:
    assert mentions_person(text) is person


def test_shares_are_of_all_texts() -> None:
    texts: list[tuple[str, Finish | None]] = [
        ("The man in the rain is tired of waiting for it to end.", "stop"),
        ("The woman who waits for the bus is calm, and she", "length"),
        ("I'm sorry.", None),
        ("Rain.", "length"),
    ]
    found = compute_statistics(texts)
    assert found is not None
    assert (found.n, found.refusals, found.english) == (4, 0.25, 1.0)
    assert (found.truncated, found.hit_limit, found.without_person) == (0.5, 0.5, 0.5)
    assert found.lengths.mean == pytest.approx((13 + 11 + 2 + 1) / 4)
    assert found.lengths.q05 == pytest.approx(1.15)
    assert found.lengths.q50 == 6.5
    assert found.hedges == 0
    assert compute_statistics([]) is None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("She may be tired, and appears to wait; it could be **possibly** late.", 4),
        ("It looks as if he hints at a slight doubt, a little.", 4),
        ("They are sad. The mayor of Mayfield seemly likes couldron.", 0),
    ],
)
def test_hedges_are_whole_words_and_phrases(text: str, count: int) -> None:
    assert count_hedges(text) == count


def test_hedges_are_per_100_words() -> None:
    found = compute_statistics([("He seems to be glad.", "stop"), ("He smiles at her.", "stop")])
    assert found is not None
    assert found.hedges == pytest.approx(100 / 9)


def test_words_are_without_markup_and_case() -> None:
    assert split_words("**Don\u2019t** go_there, 2 o'clock!") == ["don't", "go", "there", "2", "o'clock"]
