"""The contract of every model that finds people in images.

A detector returns the failure of one image in that image's place, and raises what concerns all of them.
An image without people has an empty result. A detector must not know files, sources or stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from PIL import Image
from pydantic import JsonValue

from mien.errors import ConfigError, MienError
from mien.predict.results import BoxSource
from mien.types import Box

__all__ = ["Detection", "Detector", "DetectorOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A person in an image.

    Attributes:
        box: In whole pixels of the upright image, inside of it; None if the whole image is the subject.
        score: The detector's confidence from 0 to 1; None without a detector.
    """

    box: Box | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """Which of the boxes that a model proposes are people.

    Attributes:
        min_score: Least score, from 0 to 1; None for the usual one of the model.
        min_size: Least width and height of a box inside the image, in pixels, at least 1.
        max_overlap: Of two boxes whose intersection over union is larger, only the one with the higher score
            is returned (non-maximum suppression). None for what the model needs, which may be nothing.
        max_people: The most people per image, those with the highest scores; None for all.

    Raises:
        ConfigError: A value is out of range.
    """

    min_score: float | None = None
    min_size: float = 8.0
    max_overlap: float | None = None
    max_people: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_score", "max_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} of a detector is {value}", hint="give a number from 0 to 1")
        if not self.min_size >= 1:  # also refuses NaN
            raise ConfigError(f"min_size of a detector is {self.min_size}", hint="give at least 1 pixel")
        if self.max_people is not None and self.max_people < 1:
            raise ConfigError(f"max_people of a detector is {self.max_people}", hint="give at least 1")

    def with_defaults(self, *, min_score: float, max_overlap: float | None = None) -> DetectorOptions:
        """The options with a model's own values where they are None."""
        return replace(
            self,
            min_score=min_score if self.min_score is None else self.min_score,
            max_overlap=max_overlap if self.max_overlap is None else self.max_overlap,
        )

    def identity(self) -> Mapping[str, JsonValue]:
        """The options as JSON values, for signatures."""
        return {**asdict(self), "min_size": float(self.min_size)}


class Detector(ABC):
    """Finds the people in images. Not for several threads at once."""

    @classmethod
    @abstractmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        """Creates the detector.

        Args:
            model: A name on the Hugging Face Hub, or a path; None for the usual model.
            options: Which boxes are returned.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest that is available.

        Raises:
            ConfigError: The detector needs a model, or another option.
            WeightsError: The model is not available.
            EngineError: A library or the device is not available.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for display: the kind of detector and its model."""

    @property
    @abstractmethod
    def signature(self) -> Mapping[str, JsonValue]:
        """Everything besides the images that changes the boxes: model content or revision, options.

        It holds neither paths nor devices.
        """

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        """Name, commit and license of a model from the Hugging Face Hub, for the record; None for others."""
        return None

    @property
    def box_source(self) -> BoxSource:
        """What its boxes are: "detected", "face" (a body guessed from a face), or "whole" (no box)."""
        return "detected"

    @abstractmethod
    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        """The people in each image, in order, or in its place the error that concerns it alone.

        People are in the order of falling scores, then of the edges of their boxes.

        Args:
            images: Images of any size and mode. One with an EXIF orientation is turned upright first, and
                its boxes are in pixels of the upright image.

        Raises:
            WeightsError: The model cannot be loaded.
            EngineError: A library or the device failed.
        """
