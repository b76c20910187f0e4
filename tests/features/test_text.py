"""The tokenizer against that of transformers, with BERT's vocabulary."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer

from mien.errors import WeightsError
from mien.features.text import load_tokenizer

TEXTS = [
    "The person in the red box appears JOYFUL; arms raised, she's cheering with others at the café.",
    "",
    "A man — perhaps grieving — stands unbelievably still. 悲しみ",
]


def test_equals_the_tokenizer_of_transformers(vocabulary: Path) -> None:
    ours = load_tokenizer(vocabulary, 128)
    theirs = BertTokenizer(vocab=str(vocabulary))
    ids, mask = ours.encode(TEXTS)
    expected = theirs(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(ids, expected["input_ids"])
    assert torch.equal(mask, expected["attention_mask"].bool())
    assert ours.vocab_size == len(vocabulary.read_text(encoding="utf-8").splitlines()) == 30522
    assert ours.pad_id == theirs.pad_token_id
    assert (ids == theirs.unk_token_id).sum() <= 2


def test_reads_every_form_of_a_saved_tokenizer(vocabulary: Path, tmp_path: Path) -> None:
    BertTokenizer(vocab=str(vocabulary)).save_pretrained(tmp_path / "saved")
    (tmp_path / "plain").mkdir()
    shutil.copy(vocabulary, tmp_path / "plain" / "vocab.txt")
    expected, _ = load_tokenizer(vocabulary, 64).encode(TEXTS)
    assert (tmp_path / "saved" / "tokenizer.json").exists()
    for folder in ("saved", "plain"):
        ids, _ = load_tokenizer(str(tmp_path / folder), 64).encode(TEXTS)
        assert torch.equal(ids, expected), folder


def test_a_cased_vocabulary_keeps_its_case(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Joy", "joy"])
    )
    assert load_tokenizer(tmp_path, 8).encode(["Joy"])[0].tolist() == [[2, 6, 3]]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert load_tokenizer(tmp_path, 8).encode(["Joy"])[0].tolist() == [[2, 5, 3]]


def test_truncates_long_texts_and_pads_to_the_longest(vocabulary: Path) -> None:
    tokenizer = load_tokenizer(vocabulary, 10)
    ids, mask = tokenizer.encode(["calm " * 50, "calm"])
    assert ids.shape == (2, 10)
    assert ids[0, -1] == ids[1, 2]  # [SEP] also ends the truncated text
    assert mask.sum(dim=1).tolist() == [10, 3]
    assert (ids[~mask] == tokenizer.pad_id).all()
    assert tokenizer.encode(["calm"])[0].shape == (1, 3)
    assert tokenizer.encode([])[0].shape == (0, 0)


def test_head_tail_keeps_both_halves_of_a_long_text(vocabulary: Path) -> None:
    text = "first second third fourth fifth sixth seventh eighth ninth tenth in conclusion joy"
    whole, _ = load_tokenizer(vocabulary, 128).encode([text])
    for limit in (8, 9):
        tokenizer = load_tokenizer(vocabulary, limit, "head_tail")
        ids, mask = tokenizer.encode([text, "calm"])
        assert ids.shape == (2, limit)
        tail = limit // 2
        assert ids[0].tolist() == [*whole[0, : limit - tail].tolist(), *whole[0, -tail:].tolist()]
        assert mask.sum(dim=1).tolist() == [limit, 3]
    head, _ = load_tokenizer(vocabulary, 8).encode([text])
    assert head[0, :7].tolist() == whole[0, :7].tolist()
    assert load_tokenizer(vocabulary, 1, "head_tail").encode([text])[0].tolist() == [[int(whole[0, 0])]]


@pytest.mark.parametrize("text", TEXTS)
def test_short_texts_are_not_truncated(vocabulary: Path, text: str) -> None:
    head, both = load_tokenizer(vocabulary, 64), load_tokenizer(vocabulary, 64, "head_tail")
    assert torch.equal(head.encode([text])[0], both.encode([text])[0])


def test_the_signature_depends_on_truncation(vocabulary: Path) -> None:
    signature = load_tokenizer(vocabulary, 64).signature
    assert load_tokenizer(vocabulary, 64, "head").signature == signature
    assert load_tokenizer(vocabulary, 64, "head_tail").signature != signature


def test_the_signature_depends_on_everything_that_changes_the_ids(vocabulary: Path, tmp_path: Path) -> None:
    signature = load_tokenizer(vocabulary, 64).signature
    shutil.copy(vocabulary, tmp_path / "vocab.txt")
    assert load_tokenizer(tmp_path, 64).signature == signature
    assert load_tokenizer(vocabulary, 65).signature != signature
    with (tmp_path / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("mienfulness\n")
    assert load_tokenizer(tmp_path, 64).signature != signature


def test_folders_without_a_tokenizer_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="neither"):
        load_tokenizer(tmp_path, 64)
    with pytest.raises(WeightsError, match="cache lacks files"):
        load_tokenizer("no-such/model", 64)
    (tmp_path / "vocab.txt").write_text("joy\nanger\n")
    with pytest.raises(WeightsError, match="lacks"):
        load_tokenizer(tmp_path, 64)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="not a tokenizer"):
        load_tokenizer(tmp_path, 64)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_tokenizer(tmp_path, 64)
