"""Words are found in a text by its tokens, with the punctuation next to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.features.text import TextTokenizer, load_tokenizer
from mien.predict.explain.description_words import split_words

_WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "she", "is", "not", "happy", "##ness", "don", "t", "doubt"),
    *("confusion", "well", "known", ".", ",", "'", "-", "/", "(", ")", "\u6211", "\u4eec"),
]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(_WORDS), encoding="utf-8")
    return path


def _split(text: str, tokenizer: TextTokenizer) -> list[str]:
    return [text[word.start : word.end] for word in split_words(text, tokenizer.spans(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She is (not) happy.", ["She", "is", "(not)", "happy."]),
        ("happyness, happy", ["happyness,", "happy"]),
        ("don't well-known", ["don't", "well-known"]),
        ("Doubt/Confusion", ["Doubt/", "Confusion"]),
        ("\u6211\u4eec happy", ["\u6211", "\u4eec", "happy"]),  # words without spaces
        ("zebra is", ["zebra", "is"]),  # unknown to the vocabulary
        ("", []),
        ("  .  ", ["."]),
    ],
)
def test_words_have_their_punctuation(vocabulary: Path, text: str, expected: list[str]) -> None:
    assert _split(text, load_tokenizer(vocabulary, 64)) == expected


def test_every_token_but_special_ones_is_in_one_word(vocabulary: Path) -> None:
    tokenizer, text = load_tokenizer(vocabulary, 64), "She is (not) happyness, don't."
    (ids,), _ = tokenizer.encode([text])
    spans = tokenizer.spans(text)
    assert len(spans) == len(ids)
    tokens = [index for word in split_words(text, spans) for index in word.tokens]
    special = {index for index, token in enumerate(ids.tolist()) if _WORDS[token] in ("[CLS]", "[SEP]")}
    assert tokens == [index for index in range(len(ids)) if index not in special]


@pytest.mark.parametrize("truncate", ["head", "head_tail"])
def test_words_that_are_cut_off_are_in_none(vocabulary: Path, truncate: str) -> None:
    text = "she is happy . is not happy"
    tokenizer = load_tokenizer(vocabulary, 5, truncate)  # type: ignore[arg-type]
    assert len(tokenizer.spans(text)) == 5
    # "head" keeps both special tokens; "head_tail" cuts what is between.
    expected = ["she", "is", "happy ."] if truncate == "head" else ["she", "is", "happy"]
    assert [word.split()[0] for word in _split(text, tokenizer)] == [word.split()[0] for word in expected]
