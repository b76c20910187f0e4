"""What texts look like, and which of them are the same: each figure by hand."""

from __future__ import annotations

import random

import pytest

from mien.evaluate.descriptions.near_duplicate_texts import compare_texts
from mien.evaluate.descriptions.text_statistics import (
    is_cut,
    is_english,
    is_refusal,
    mentions_somebody,
    read_prose,
    words,
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
def test_who_declines_does_so_at_once(text: str, refuses: bool) -> None:
    assert is_refusal(text) is refuses


@pytest.mark.parametrize(
    ("text", "cut"),
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
def test_a_cut_text_ends_without_the_end_of_a_sentence(text: str, cut: bool) -> None:
    assert is_cut(text) is cut


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
def test_english_is_known_by_its_commonest_words(text: str, english: bool | None) -> None:
    assert is_english(text) is english


@pytest.mark.parametrize(
    ("text", "somebody"),
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
def test_somebody_is_spoken_of(text: str, somebody: bool) -> None:
    assert mentions_somebody(text) is somebody


def test_shares_are_of_all_texts() -> None:
    texts: list[tuple[str, Finish | None]] = [
        ("The man in the rain is tired of waiting for it to end.", "stop"),
        ("The woman who waits for the bus is calm, and she", "length"),
        ("I'm sorry.", None),
        ("Rain.", "length"),
    ]
    found = read_prose(texts)
    assert found is not None
    assert (found.n, found.refusals, found.english) == (4, 0.25, 1.0)
    assert (found.cut, found.hit_limit, found.nobody) == (0.5, 0.5, 0.5)
    assert found.lengths.mean == pytest.approx((13 + 11 + 2 + 1) / 4)
    assert found.lengths.q05 == pytest.approx(1.15)
    assert found.lengths.q50 == 6.5
    assert read_prose([]) is None


def test_words_are_without_signs_and_case() -> None:
    assert words("**Don\u2019t** go_there, 2 o'clock!") == ["don't", "go", "there", "2", "o'clock"]


# --- Sameness ---


def _text(rng: random.Random, length: int = 100) -> list[str]:
    return [f"w{rng.randrange(5000)}" for _ in range(length)]


def test_twins_differ_in_signs_only() -> None:
    found = compare_texts(["A man waits.", "**a man** waits", "A man sits.", "A dog."])
    assert found is not None
    assert (found.n, found.distinct, found.identical, found.near) == (4, 3, 0.5, 0.5)
    assert (found.commonest, found.times) == ("A man waits.", 2)
    assert compare_texts([]) is None


def test_texts_are_nearly_the_same_from_four_fifths_of_their_runs() -> None:
    rng = random.Random(0)
    texts = []
    for _ in range(40):
        one = _text(rng)
        # Each changed word spoils five of the 96 runs: two leave 0.81 alike, five leave 0.59.
        near, far = one.copy(), one.copy()
        for place in (20, 60):
            near[place] = "x"
        for place in (10, 30, 50, 70, 90):
            far[place] = "y"
        texts += [" ".join(one), " ".join(near), " ".join(far)]
    found = compare_texts(texts)
    assert found is not None
    assert (found.identical, found.distinct) == (0.0, 120)
    # Of three, two are alike; the bands may miss a pair or two.
    assert 0.6 <= found.near <= 2 / 3


def test_strangers_are_not_the_same_though_they_begin_alike() -> None:
    rng = random.Random(1)
    opening = "based on the image context the most suitable emotion for the person in the box is"
    found = compare_texts([f"{opening} {' '.join(_text(rng, 60))}" for _ in range(200)])
    assert found is not None
    assert (found.identical, found.near, found.times) == (0.0, 0.0, 1)


def test_a_template_is_the_same_text_however_many_there_are() -> None:
    rng = random.Random(2)
    base = _text(rng)
    found = compare_texts([f"{' '.join(base)} number {number}" for number in range(500)])
    assert found is not None
    assert (found.distinct, found.near) == (500, 1.0)


def test_halves_of_characters_and_texts_without_words_are_borne() -> None:
    found = compare_texts(["\ud83d!", "...", "***", "a"])
    assert found is not None
    assert (found.times, found.commonest) == (3, "\\ud83d!")
