"""Asks the model of a run about changed pixels and changed words of one subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    from mien.errors import MienError
    from mien.predict.predictor import Predictor
    from mien.types import Prediction, Subject

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
        before_batch: Is called before a batch is read; what it raises ends the work.

    Attributes:
        classifier: The model.
        device: Where it is.
        uses_image: Whether it reads images.
        uses_text: Whether it reads descriptions.
    """

    def __init__(self, predictor: Predictor, before_batch: Callable[[], None] | None = None) -> None:
        self.predictor = predictor
        self._before_batch = before_batch or _go_on
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
        self._before_batch()
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
        self._before_batch()
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

    def predict(self, subjects: Iterable[Subject]) -> Iterator[Prediction | MienError]:
        """Both stages for other subjects: the prediction or the error of each, in order."""
        return self.predictor.each(self._one_by_one(subjects))

    def _one_by_one(self, subjects: Iterable[Subject]) -> Iterator[Subject]:
        for subject in subjects:
            self._before_batch()
            yield subject

    def _encode_all(
        self, variants: Iterable[UInt8[np.ndarray, "image height width channel"]]
    ) -> Iterator[Float[Tensor, "variant patch image_dim"]]:
        remaining = iter(variants)
        while some := list(islice(remaining, _BATCH)):
            yield self.encode(np.stack(some))


def _go_on() -> None:
    """Raises nothing."""
