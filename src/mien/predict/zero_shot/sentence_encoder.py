"""Sentences become vectors whose cosine says how alike they mean: the mean of a BERT's last states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import JsonValue

from mien.features.text import TextTokenizer, load_tokenizer
from mien.predict.zero_shot.pretrained import find_pretrained, load_pretrained
from mien.weights.model_folder import read_json

__all__ = ["DEFAULT_ENCODER", "SentenceEncoder"]

DEFAULT_ENCODER: Final = "sentence-transformers/all-MiniLM-L6-v2"

_MAX_TOKENS: Final = 256  # where the folder does not say what the model was trained with
_BATCH: Final = 64
_POOLING: Final = "mean"


class SentenceEncoder:
    """A sentence encoder with mean pooling, as sentence-transformers has them. It loads with the first text.

    Args:
        name: A folder, or a Hugging Face id.
        device: Where it runs.

    Raises:
        WeightsError: The model is not available.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        self._folder = find_pretrained(name)
        self._device = device

    @property
    def name(self) -> str:
        return self._folder.name

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        """Content or commit of the model, and how its states are pooled."""
        return {**self._folder.identity(), "pooling": _POOLING, "max_tokens": self._max_tokens}

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        """One vector of length 1 per text; tokens beyond the longest that the model knows are left out."""
        found = [self._encode(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(found)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        ids, mask = self._tokenizer.encode(texts)
        device = self._model.device
        states = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        weights = mask.to(device)[..., None].float()
        pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        vectors: np.ndarray = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return vectors

    @cached_property
    def _max_tokens(self) -> int:
        file = self._folder.path / "sentence_bert_config.json"
        stated = read_json(file).get("max_seq_length") if file.is_file() else None
        return stated if isinstance(stated, int) and stated > 0 else _MAX_TOKENS

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return load_tokenizer(self._folder.path, self._max_tokens)

    @cached_property
    def _model(self) -> Any:
        return load_pretrained(self._folder, self._device, optional=("pooler.",))
