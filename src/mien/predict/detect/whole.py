"""No detection: the whole image is the subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from PIL import Image
from pydantic import JsonValue

from mien.errors import ConfigError, MienError
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.predict.results import BoxSource

__all__ = ["WholeImage"]


class WholeImage(Detector):
    """One person without a box per image."""

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        if options != DetectorOptions():
            raise ConfigError("the detector 'whole' has no options", hint="remove them, or name a detector")
        return cls()

    @property
    def name(self) -> str:
        return "whole"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"detector": "whole"}

    @property
    def box_source(self) -> BoxSource:
        return "whole"

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        return detect_opened(images, lambda opened: [(Detection(box=None, score=None),) for _ in opened])
