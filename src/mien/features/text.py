"""Tokenizes texts with BERT-style tokenizers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from mien.digests import digest
from mien.documents import read_text
from mien.errors import WeightsError
from mien.recipe.features import TruncateMode
from mien.weights.model_folder import find_encoder_folder, read_json

__all__ = ["TextTokenizer", "TokenSpan", "load_tokenizer"]

_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
_PADDINGS: Final = ("[PAD]", "<pad>", "<|endoftext|>", "</s>")


_Item = TypeVar("_Item")


class TokenSpan(NamedTuple):
    """The characters of a text that a token stands for.

    Attributes:
        start: The first.
        end: The one after the last; equal to `start` for special tokens.
        word: Number of the word or punctuation mark that the token is a part of; None for special tokens.
    """

    start: int
    end: int
    word: int | None


class TextTokenizer:
    """Converts texts to token ids, at most `max_tokens` each, special tokens included.

    Args:
        tokenizer: The tokenizer; changed in place.
        pad_id: The id of padding.
        max_tokens: Longest text, in tokens.
        truncate: How longer texts are cut. "head" keeps the start; "head_tail" keeps the first and the last
            half of `max_tokens`, because descriptions weigh several emotions and conclude at the end.

    Attributes:
        signature: A digest of everything that changes the ids.
        vocab_size: Token ids are below this.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, pad_id: int, max_tokens: int, truncate: TruncateMode = "head"
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Covers the whole tokenizer, vocabulary and rules, before truncation is set.
        options = {} if truncate == "head" else {"truncate": truncate}
        self.signature = digest({"tokenizer": tokenizer.to_str(), "max_tokens": max_tokens, **options})
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.pad_id = pad_id
        self.max_tokens = max_tokens
        self.truncate = truncate
        if truncate == "head":
            tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> tuple[Int[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        """Ids (int64), padded to the longest text, and a mask that is true where a token is real."""
        rows = [self._cut(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        longest = max((len(row) for row in rows), default=0)
        ids = np.full((len(rows), longest), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.bool_)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = True
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def save_padded(self, file: Path) -> None:
        """Writes a tokenizer.json with which the library `tokenizers` alone encodes a text as `encode` does.

        Texts are padded to `max_tokens`. Those that are longer are cut only where `truncate` is "head".
        """
        copy = Tokenizer.from_str(self._tokenizer.to_str())
        token = copy.id_to_token(self.pad_id) or ""
        copy.enable_padding(length=self.max_tokens, pad_id=self.pad_id, pad_token=token)
        copy.save(str(file))

    def spans(self, text: str) -> list[TokenSpan]:
        """Where in the text each token of `encode` comes from, in order."""
        encoding = self._tokenizer.encode(text)
        words = encoding.word_ids
        return self._cut(
            [TokenSpan(start, end, word) for (start, end), word in zip(encoding.offsets, words, strict=True)]
        )

    def name_tokens(self, label: str) -> tuple[tuple[int, ...], ...]:
        """The ids of each word or phrase by which a text names a label: of "Doubt/Confusion", two."""
        parts = [part.strip() for part in label.split("/")]
        rows = (self._tokenizer.encode(part, add_special_tokens=False).ids for part in parts if part)
        return tuple(tuple(row) for row in rows if row)

    def _cut(self, ids: list[_Item]) -> list[_Item]:
        """The first and the last half of an overlong text; "head" is cut by the tokenizer itself."""
        if len(ids) <= self.max_tokens:
            return ids
        tail = self.max_tokens // 2
        return ids[: self.max_tokens - tail] + ids[len(ids) - tail :]


def load_tokenizer(
    name_or_path: str | Path, max_tokens: int, truncate: TruncateMode = "head"
) -> TextTokenizer:
    """Loads a tokenizer from a model folder (tokenizer.json or vocab.txt), a vocab.txt, or the Hub.

    Raises:
        WeightsError: If there is none.
    """
    path = Path(name_or_path)
    if path.is_file() and path.suffix == ".txt":
        config: dict[str, object] = {}
        tokenizer = _from_vocabulary(path, config)
    else:
        folder = find_encoder_folder(str(name_or_path), embedded_as="words", patterns=_FILES)
        tokenizer, config = _from_folder(folder.path)
    return TextTokenizer(
        tokenizer, pad_id=_pad_id(tokenizer, config, path), max_tokens=max_tokens, truncate=truncate
    )


def _from_folder(folder: Path) -> tuple[Tokenizer, dict[str, object]]:
    config_file = folder / "tokenizer_config.json"
    config = dict(read_json(config_file)) if config_file.exists() else {}
    if (folder / "tokenizer.json").exists():
        try:
            return Tokenizer.from_file(str(folder / "tokenizer.json")), config
        except Exception as error:  # the library raises nothing more specific
            raise WeightsError(
                f"{folder / 'tokenizer.json'} is not a tokenizer: {error}", hint="copy the model again"
            ) from error
    if (folder / "vocab.txt").exists():
        return _from_vocabulary(folder / "vocab.txt", config), config
    raise WeightsError(
        f"{folder} has no tokenizer: neither tokenizer.json nor vocab.txt",
        hint="name a BERT-style model, its folder, or a vocab.txt",
    )


def _from_vocabulary(file: Path, config: dict[str, object]) -> Tokenizer:
    """BERT's tokenizer with a vocabulary of one token per line; lowercase by default."""
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="copy the model again") from error
    vocabulary = {token: index for index, token in enumerate(lines)}
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in vocabulary]
    if missing:
        raise WeightsError(
            f"{file} is not a BERT vocabulary: it lacks {missing[0]}", hint="give BERT's vocab.txt"
        )
    strip_accents = config.get("strip_accents")
    tokenizer = BertWordPieceTokenizer(
        vocabulary,
        lowercase=bool(config.get("do_lower_case", True)),
        strip_accents=strip_accents if isinstance(strip_accents, bool) else None,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
    )
    return Tokenizer.from_str(tokenizer.to_str())


def _pad_id(tokenizer: Tokenizer, config: dict[str, object], path: Path) -> int:
    """The id of padding. Padding is always masked, so any known candidate will do."""
    named = config.get("pad_token")
    for token in (named if isinstance(named, str) else "", *_PADDINGS):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise WeightsError(f"the tokenizer of {path} has no padding token", hint="name a BERT-style model")
