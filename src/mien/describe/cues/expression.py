"""What a face looks like, by a classifier of expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from PIL import Image

from mien.describe.cues.geometry import Edges
from mien.detection.onnx_model import OnnxModel
from mien.errors import ConfigError, WeightsError

__all__ = ["PIXEL_RANGES", "Expression", "ExpressionReader", "PixelRange"]

PixelRange = Literal["0..255", "0..1", "-1..1", "imagenet"]

# Mean and deviation that make the pixels from 0 to 255 what a model takes.
PIXEL_RANGES: Final[dict[PixelRange, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "0..255": ((0.0,) * 3, (1.0,) * 3),
    "0..1": ((0.0,) * 3, (255.0,) * 3),
    "-1..1": ((127.5,) * 3, (127.5,) * 3),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
# By channels and outputs: seven classes of a model that takes colors, and the eight of FER+.
_LABELS: Final = {
    (3, 7): ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
    (1, 8): ("neutral", "happy", "surprised", "sad", "angry", "disgusted", "fearful", "contemptuous"),
}
_GRAY: Final = 1  # channels
_DIGITS: Final = 4
_HINT: Final = "set describe.options.expression to a classifier of face images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """The two likeliest expressions with their probabilities."""

    first: str
    first_probability: float
    second: str
    second_probability: float


class ExpressionReader:
    """A classifier of face crops, in color or gray.

    Args:
        model: The model.
        labels: Its classes as adjectives, in order; empty for the usual ones.
        pixels: What it takes pixels as.

    Raises:
        ConfigError: It has another number of classes.
        WeightsError: It is not such a classifier.
    """

    def __init__(self, model: OnnxModel, labels: tuple[str, ...], pixels: PixelRange) -> None:
        self._model = model
        shape, outputs = model.input_shape, [*model.outputs.values()]
        is_classifier = len(outputs) == 1 and len(outputs[0]) == 2 and isinstance(outputs[0][1], int)
        takes_faces = (
            len(shape) == 4 and shape[1] in (1, 3) and all(isinstance(side, int) for side in shape[2:])
        )
        if not (is_classifier and takes_faces and outputs[0][1] > 1):
            raise WeightsError(
                f"{model.path} is not a classifier of expressions: it takes {shape}, and its outputs are "
                f"{', '.join(model.outputs)}",
                hint=_HINT,
            )
        self._channels, self._height, self._width = (int(length) for length in shape[1:])
        self.labels = labels or _LABELS.get((self._channels, outputs[0][1]), ())
        if len(self.labels) != outputs[0][1]:
            raise ConfigError(
                f"{model.path} has {outputs[0][1]} classes, and there are {len(self.labels)} labels for them",
                hint="name its classes in describe.options.expression_labels, as adjectives and in its order",
            )
        self._mean, self._deviation = (np.array(values, np.float32) for values in PIXEL_RANGES[pixels])

    def read(self, image: Image.Image, face: Edges) -> Expression:
        """The expression of a face in an RGB image; EngineError if the model fails on it."""
        # A square, so that the face keeps its shape; what is outside of the image is black.
        side = max(face[2] - face[0], face[3] - face[1])
        left, top = (face[0] + face[2] - side) / 2, (face[1] + face[3] - side) / 2
        crop = image.transform(
            (self._width, self._height),
            Image.Transform.EXTENT,
            (left, top, left + side, top + side),
            Image.Resampling.BILINEAR,
        )
        (output,) = self._model.run(self._pixels(crop)).values()
        probabilities = _as_probabilities(output.astype(np.float64))
        self._model.require_finite(probabilities)
        order = np.argsort(-probabilities.round(_DIGITS), kind="stable")
        first, second = int(order[0]), int(order[1])
        return Expression(
            first=self.labels[first],
            first_probability=round(float(probabilities[first]), _DIGITS),
            second=self.labels[second],
            second_probability=round(float(probabilities[second]), _DIGITS),
        )

    def _pixels(self, crop: Image.Image) -> Float[np.ndarray, "1 channel height width"]:
        if self._channels == _GRAY:
            gray: np.ndarray = np.asarray(crop.convert("L"), np.float32)
            pixels: np.ndarray = ((gray - self._mean[0]) / self._deviation[0])[None, None]
            return pixels
        values = (np.asarray(crop, np.float32) - self._mean) / self._deviation
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _as_probabilities(output: Float[np.ndarray, " class"]) -> Float[np.ndarray, " class"]:
    """The output itself if it is a distribution; otherwise it is logits."""
    if output.min() >= 0 and abs(output.sum() - 1) < 1e-3:
        return output
    exponentials = np.exp(output - output.max())
    probabilities: np.ndarray = exponentials / exponentials.sum()
    return probabilities
