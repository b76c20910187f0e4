"""The values that cross package boundaries: frozen, validated when they are built.

`Subject` has no label and must never have one: describing and predicting take a `Subject`, so that the answer
cannot leak into the text. `Sample` joins a `Subject` with its `Target`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NotRequired, TypedDict, get_args

from mien.errors import BoxError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DIMENSIONS",
    "MAX_EDGE",
    "Box",
    "Description",
    "Failure",
    "Finish",
    "ImageRef",
    "Prediction",
    "PredictionDict",
    "Problem",
    "Sample",
    "Subject",
    "Target",
]

# Continuous emotion, on a 0..1 scale: an annotator's 7 of 10 is 0.7.
DIMENSIONS: Final = ("valence", "arousal", "dominance")

_DIMENSIONS: Final = frozenset(DIMENSIONS)

# Pixels; larger than any image. Arithmetic with larger coordinates would overflow.
MAX_EDGE: Final = 1e9

# Why a description ended: on its own, or because it reached the maximum length.
Finish = Literal["stop", "length"]
_FINISHES: Final = get_args(Finish)


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Box:
    """A rectangle in pixels of the upright image; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    def __init__(self, *, left: float, top: float, right: float, bottom: float) -> None:
        # Two thirds of the time of the generated one. A dataset has a million boxes.
        _set_left(self, left)
        _set_top(self, top)
        _set_right(self, right)
        _set_bottom(self, bottom)
        if not (-MAX_EDGE <= left < right <= MAX_EDGE and -MAX_EDGE <= top < bottom <= MAX_EDGE):
            raise _box_error(self)

    @classmethod
    def from_tuple(cls, edges: tuple[float, float, float, float]) -> Box:
        """The box of (left, top, right, bottom)."""
        left, top, right, bottom = edges
        return cls(left=left, top=top, right=right, bottom=bottom)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def as_tuple(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom)."""
        return (self.left, self.top, self.right, self.bottom)

    def clip(self, width: float, height: float) -> Box:
        """The part inside an image of this size; BoxError if nothing remains."""
        left, top = max(0.0, self.left), max(0.0, self.top)
        right, bottom = min(float(width), self.right), min(float(height), self.bottom)
        if right <= left or bottom <= top:
            raise BoxError(
                f"box {self.as_tuple()} lies outside the image of {width:g} x {height:g} pixels",
                hint="give left,top,right,bottom in pixels of the upright image",
            )
        return Box(left=left, top=top, right=right, bottom=bottom)


def _box_error(box: Box) -> BoxError:
    edges = box.as_tuple()
    if not all(map(math.isfinite, edges)):
        return BoxError(f"box {edges} is not finite", hint="give left,top,right,bottom in pixels")
    if max(map(abs, edges)) > MAX_EDGE:
        return BoxError(
            f"box {edges} is outside any image",
            hint="give left,top,right,bottom in pixels of the upright image",
        )
    return BoxError(
        f"box {edges} is empty",
        hint="give left,top,right,bottom in pixels, with right > left and bottom > top",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """Where an image is: a file, one frame (counted from 0) of a video file, or pixels in memory.

    With `pixels`, `path` is only the name that messages show.
    """

    path: Path
    frame: int | None = None
    pixels: Image | None = field(default=None, repr=False, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One person in an image or a clip; an image is a clip of length 1.

    Attributes:
        id: Unique within a dataset.
        images: The image, or the frames of the clip.
        boxes: One box per image; None if the position is unknown.
        stated_size: (width, height) in pixels of the image that the boxes were drawn on, as the annotation
            file states it. It is compared with the image when that is opened.
    """

    id: str
    images: tuple[ImageRef, ...]
    boxes: tuple[Box | None, ...]
    stated_size: tuple[int, int] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.id:
            raise DataError("a subject has an empty id", hint="give every subject a unique id")
        if not self.images or len(self.images) != len(self.boxes):
            raise DataError(
                f"subject {self.id!r} has {len(self.images)} images and {len(self.boxes)} boxes",
                hint="give at least one image, and one box or None per image",
            )

    @classmethod
    def still(
        cls,
        id: str,
        path: Path,
        box: Box | None = None,
        *,
        stated_size: tuple[int, int] | None = None,
    ) -> Subject:
        """A person in a single image file."""
        if not id:
            return cls(id=id, images=(ImageRef(path=path),), boxes=(box,))  # raises the error that says so
        # A quarter of the time of the two constructors. Most subjects are made here.
        image, subject = _new(ImageRef), _new(cls)
        _set_path(image, path)
        _set_frame(image, None)
        _set_pixels(image, None)
        _set_id(subject, id)
        _set_images(subject, (image,))
        _set_boxes(subject, (box,))
        _set_stated_size(subject, stated_size)
        return subject


def _setters(cls: type) -> Iterator[Callable[[Any, Any], None]]:
    """What sets each field of a frozen object, for code that makes many."""
    return (cls.__dict__[field.name].__set__ for field in fields(cls))


_new: Final = object.__new__
_set_left, _set_top, _set_right, _set_bottom = _setters(Box)
_set_path, _set_frame, _set_pixels = _setters(ImageRef)
_set_id, _set_images, _set_boxes, _set_stated_size = _setters(Subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The annotation of a subject. Compared by value; not hashable, because its mappings are not.

    Attributes:
        labels: Score in 0..1 per label; missing labels score 0.
        dimensions: Value in 0..1 for each of `DIMENSIONS`; None if they were not annotated.
    """

    labels: Mapping[str, float]
    dimensions: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        # Copied, so that later changes to the caller's dict do not change the target.
        object.__setattr__(self, "labels", _unit_scores(self.labels, "label"))
        if self.dimensions is not None:
            _check_dimension_names(self.dimensions)
            object.__setattr__(self, "dimensions", _unit_scores(self.dimensions, "dimension"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A subject with its annotation, for training and evaluation only; target None if not annotated."""

    subject: Subject
    target: Target | None
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an engine wrote about a subject.

    Attributes:
        key: Identifies everything that determined the text.
        subject_id: Id of the subject.
        text: What was written.
        prompt_id: Name of the prompt.
        engine: What wrote it, with a digest of its settings.
        finish: "stop", or "length" if the text was cut at the maximum length.
    """

    key: str
    subject_id: str
    text: str
    prompt_id: str
    engine: str
    finish: Finish

    def __post_init__(self) -> None:
        if self.finish not in _FINISHES:
            raise DataError(
                f"description of {self.subject_id!r} has finish {self.finish!r}, not stop or length"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a subject has no description, and how often it was attempted."""

    key: str
    subject_id: str
    error: str
    retryable: bool
    attempts: int


class PredictionDict(TypedDict):
    """`Prediction` as JSON values. What is None or empty is left out, except dimensions and description.

    Attributes:
        description: The text that the model read, if any.
        above: The labels that reach their thresholds, best first.
        sure: Whether the model is sure of its best label.
    """

    subject_id: str
    label_set: str
    scores: dict[str, float]
    dimensions: dict[str, float] | None
    description: str | None
    status: str
    above: NotRequired[list[str]]
    bounded: NotRequired[list[str]]
    sure: NotRequired[bool]
    prediction_set: NotRequired[list[str]]
    coverage: NotRequired[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How one subject appears to feel.

    Attributes:
        subject_id: Id of the subject.
        label_set: Name of the label set.
        scores: Score in 0..1 per label.
        dimensions: Valence, arousal and dominance in 0..1; None if the model does not predict them.
        bounded: The dimensions for which the model's own value was outside of the scale.
        description: The description that the model read, if any.
        status: "ok", or a word for what is missing.
        thresholds: Score per label from which on the label holds; None if the model has none. See `above`.
        min_confidence: The highest score from which on the model is sure; None if it has none. See `is_sure`.
        prediction_set: The labels that may hold: of people in photos like those of the split that the sets
            were fitted on, the share `coverage` of those who have a label have it in their sets. Best first;
            None without a fit, and in videos.
        coverage: The stated coverage of the set; None without one.
    """

    subject_id: str
    label_set: str
    scores: Mapping[str, float]
    dimensions: Mapping[str, float] | None = None
    description: Description | None = None
    status: str = "ok"
    thresholds: Mapping[str, float] | None = None
    bounded: tuple[str, ...] = ()
    min_confidence: float | None = None
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _unit_scores(self.scores, "label"))
        if self.dimensions is not None:
            _check_dimension_names(self.dimensions)
            object.__setattr__(self, "dimensions", _unit_scores(self.dimensions, "dimension"))

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The k highest (label, score), best first; equal scores keep the order of the labels."""
        return tuple(sorted(self.scores.items(), key=lambda item: -item[1])[:k])

    def above(self, thresholds: float | Mapping[str, float]) -> tuple[str, ...]:
        """The labels whose score reaches the threshold (one for all, or one per label), best first."""
        if not isinstance(thresholds, Mapping):
            return tuple(name for name, score in self.top(len(self.scores)) if score >= thresholds)
        missing = [name for name in self.scores if name not in thresholds]
        if missing:
            raise DataError(f"no threshold for label {missing[0]!r}", hint="give one threshold per label")
        return tuple(name for name, score in self.top(len(self.scores)) if score >= thresholds[name])

    @property
    def unsure_because(self) -> str | None:
        """Why the model is not sure, in words; "" if it is, and None if it cannot tell."""
        if self.min_confidence is None or not self.scores:
            return None
        ((_, confidence),) = self.top(1)
        if confidence < self.min_confidence:
            return f"the highest score is below {self.min_confidence:.3f}"
        if self.thresholds is not None and not self.above(self.thresholds):
            return "no label reaches its threshold"
        return ""

    @property
    def is_sure(self) -> bool | None:
        """Whether the model is sure of its best label; None if it cannot tell, without calibration.

        It is if the highest score reaches `min_confidence`, and any label its threshold. That is a matter of
        rank: `min_confidence` is chosen so that a stated share of people reach it.
        """
        reason = self.unsure_because
        return None if reason is None else not reason

    def dimensions_text(self) -> str:
        """The dimensions out of 10, as in "valence 7.0/10, arousal 10.0/10 (bounded)"; "" without any."""
        return ", ".join(
            f"{name} {10 * value:.1f}/10{' (bounded)' if name in self.bounded else ''}"
            for name, value in (self.dimensions or {}).items()
        )

    def to_json(self) -> PredictionDict:
        """Plain JSON values; labels keep their order.

        "above" lists the labels that reach their thresholds, "bounded" the dimensions that were bounded,
        "sure" says whether the model is sure, and "prediction_set" lists the labels that may hold.
        """
        found: PredictionDict = {
            "subject_id": self.subject_id,
            "label_set": self.label_set,
            "scores": dict(self.scores),
            "dimensions": None if self.dimensions is None else dict(self.dimensions),
            "description": None if self.description is None else self.description.text,
            "status": self.status,
        }
        if self.thresholds is not None:
            found["above"] = list(self.above(self.thresholds))
        if self.bounded:
            found["bounded"] = list(self.bounded)
        if self.is_sure is not None:
            found["sure"] = self.is_sure
        if self.prediction_set is not None:
            found["prediction_set"] = list(self.prediction_set)
        if self.coverage is not None:
            found["coverage"] = self.coverage
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of a dataset on disk.

    Attributes:
        kind: What it is, in one word.
        file: The file.
        message: What is wrong, in a sentence.
    """

    kind: str
    file: str
    message: str


def _unit_scores(scores: Mapping[str, float], kind: str) -> dict[str, float]:
    for name, score in scores.items():
        # Written so that NaN, which compares false with everything, is refused too.
        if not 0.0 <= score <= 1.0:
            raise DataError(f"{kind} {name!r} has the score {score}", hint="give scores from 0 to 1")
    return dict(scores)


def _check_dimension_names(dimensions: Mapping[str, float]) -> None:
    if dimensions.keys() != _DIMENSIONS:
        raise DataError(f"dimensions are {sorted(dimensions)}", hint=f"give exactly {', '.join(DIMENSIONS)}")
