"""The contract of everything that scores labels without training.

A scorer knows its labels from the start, because it may embed them once. Loading images and scoring are two
steps, so that the caller decides how many subjects are in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image
from pydantic import JsonValue
from scipy.special import logit, softmax

from mien.describe.engine import Request
from mien.describe.requests import DescriptionRequest
from mien.errors import MienError
from mien.media.memory import image_bytes
from mien.media.views import OpenedPhoto
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.types import Box, Description, Subject

__all__ = ["LabelScores", "ScorerInput", "ZeroShotScorer", "from_probabilities"]

_LOWEST, _HIGHEST = 1e-12, 1 - 1e-12  # of a probability whose odds are taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInput:
    """What a scorer reads of one subject.

    Attributes:
        subject: Who.
        images: The prepared images.
        prompt: The question, in which the label may still be missing; "" for models that take none.
        request: The request for a description, where there is one.
        boxes: The subject's box in each image, for engines that take boxes.
    """

    subject: Subject
    images: tuple[Image.Image, ...]
    prompt: str = ""
    request: DescriptionRequest | None = None
    boxes: tuple[Box | None, ...] = ()

    @property
    def num_bytes(self) -> int:
        """The memory of the images."""
        return sum(image_bytes(image.mode, *image.size) for image in self.images)

    def asked(self, prompt: str | None = None) -> Request:
        """The request to an engine: the prompt, or another one about the same images."""
        return Request(
            subject_id=self.subject.id,
            images=self.images,
            prompt=self.prompt if prompt is None else prompt,
            boxes=self.boxes,
        )

    def described(self) -> tuple[DescriptionRequest, Request]:
        """The request for a description, for the store and for the engine."""
        assert self.request is not None
        return self.request, self.asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """One score from 0 to 1 per label, in the order of the labels, and the description that they are from."""

    scores: tuple[float, ...]
    description: Description | None = None


class ZeroShotScorer(ABC):
    """Scores how well each label describes how a person appears to feel. Creating one loads no model."""

    labels: ZeroShotLabels

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for display: the method and the model."""

    @property
    @abstractmethod
    def signature(self) -> Mapping[str, JsonValue]:
        """Everything that changes a score: model, labels and their definitions, wording, marking.

        It holds neither paths nor devices.
        """

    @abstractmethod
    def prepare(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput:
        """Loads the images of a subject.

        Raises:
            DataError: They cannot be read, or the box lies outside.
        """

    @abstractmethod
    def score(self, inputs: Sequence[ScorerInput]) -> Sequence[LabelScores | MienError]:
        """Scores per subject, in order, or in its place the error that concerns it alone.

        Raises:
            EngineDownError: The model cannot work at all.
            WeightsError: The model is not available.
        """


def from_probabilities(probabilities: Float[np.ndarray, " label"], *, exclusive: bool) -> tuple[float, ...]:
    """Scores from the probability of each label alone.

    Where exactly one label holds, the probability that it is this one if the labels were independent: the
    odds of each, divided by their sum.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if exclusive:
        values = softmax(logit(np.clip(values, _LOWEST, _HIGHEST)))
    return tuple(np.clip(values, 0.0, 1.0).tolist())
