"""Asks the model of a run about changed pixels and changed words of one subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mien.batches.batch import TextInputs
from mien.model.classifier import ClassifierOutput

if TYPE_CHECKING:
    from mien.predict.predictor import Predictor

__all__ = ["ModelProbe", "TextTokens"]

_BATCH: Final = 16  # changed inputs that the model reads at once


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Descriptions as the model reads them.

    Attributes:
        ids: Token ids, shape (variant, token).
        mask: True where a token is read, shape (variant, token).
    """

    ids: Int[Tensor, "variant token"]
    mask: Bool[Tensor, "variant token"]


class ModelProbe:
    """The second stage of a predictor, for changed inputs. The description is not made again.

    Args:
        predictor: The predictor whose model reads the changed inputs.

    Attributes:
        classifier: The model.
        device: Where it is.
        uses_image: Whether it reads images.
        uses_text: Whether it reads descriptions.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.classifier = predictor.trained.classifier
        self.device = next(self.classifier.parameters()).device
        self.uses_image = predictor.vision is not None
        self.uses_text = predictor.text_stage is not None

    @torch.no_grad()
    def encode(
        self, pixels: UInt8[np.ndarray, "variant image height width channel"]
    ) -> Float[Tensor, "variant patch image_dim"]:
        """The image tokens of each variant, as in a prediction."""
        vision = self.predictor.vision
        assert vision is not None, "the model reads no images"
        if self.classifier.encoder is not None:
            tokens: Tensor = self.classifier.encoder(torch.from_numpy(pixels).to(self.device))
            return tokens
        # Cloned, because tokens that are made in inference mode have no place in a graph of gradients.
        return vision.encoder.encode(pixels).half().float().clone().to(self.device)

    def tokenize(self, text: str | None) -> TextTokens | None:
        """One description; None for a model that reads none. Without a text, no token is read."""
        if self.predictor.text_stage is None:
            return None
        texts = TextInputs.encode([text], self.predictor.text_stage.tokenizer)
        return TextTokens(texts.ids.to(self.device), texts.mask.to(self.device))

    def classify(
        self, image: Float[Tensor, "variant patch image_dim"] | None, text: TextTokens | None
    ) -> ClassifierOutput:
        """What the model says of each variant, with gradients. One image or text stands for all variants."""
        count = max(1 if image is None else len(image), 1 if text is None else len(text.ids))
        ids = mask = None
        if text is not None:
            ids, mask = text.ids.expand(count, -1), text.mask.expand(count, -1)
        if image is not None:
            image = image.expand(count, -1, -1)
        return self.classifier.classify(image, ids, mask)

    @torch.no_grad()
    def scores(
        self, image: Float[Tensor, "variant patch image_dim"] | None, text: TextTokens | None
    ) -> Float[np.ndarray, "variant label"]:
        """The scores of each variant, from 0 to 1, as in a prediction."""
        count = max(1 if image is None else len(image), 1 if text is None else len(text.ids))
        found = []
        for start in range(0, count, _BATCH):
            part = slice(start, start + _BATCH)
            some = image if image is None or len(image) == 1 else image[part]
            words = text
            if text is not None and len(text.ids) > 1:
                words = TextTokens(text.ids[part], text.mask[part])
            found.append(self.predictor.scores(self.classify(some, words)))
        return np.concatenate(found)

    def scores_of_pixels(
        self, variants: Iterable[UInt8[np.ndarray, "image height width channel"]], text: TextTokens | None
    ) -> Float[np.ndarray, "variant label"]:
        """The scores of each variant of the pixels, with the same text."""
        return np.concatenate([self.scores(tokens, text) for tokens in self._encode_all(variants)])

    def _encode_all(
        self, variants: Iterable[UInt8[np.ndarray, "image height width channel"]]
    ) -> Iterator[Float[Tensor, "variant patch image_dim"]]:
        remaining = iter(variants)
        while some := list(islice(remaining, _BATCH)):
            yield self.encode(np.stack(some))
