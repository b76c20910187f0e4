"""A detector that a test in another process can hold back, and that says which process reads."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from PIL import Image
from pydantic import JsonValue

from mien.errors import MienError
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.results import BoxSource

FOLDER = "MIEN_TEST_HELD_DETECTOR"  # environment variable: while it has a file named "hold", detectors wait
_WARM_UP_SIZE = (320, 240)


class HeldDetector(Detector):
    """Takes the whole image, after a file PID.reading was made and "hold" is gone."""

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "held"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"detector": "held"}

    @property
    def box_source(self) -> BoxSource:
        return "whole"

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        folder = Path(os.environ[FOLDER])
        if any(image.size != _WARM_UP_SIZE for image in images):
            (folder / f"{os.getpid()}.reading").touch()
            while (folder / "hold").exists():
                time.sleep(0.01)
        return [(Detection(box=None, score=None),) for _ in images]
