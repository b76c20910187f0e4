"""The values that travel between rooms: frozen, slotted, keyword-only.

Goes in: plain numbers, strings and paths.
Comes out: values that were checked when they were made, so that no room checks them again.
Knows nothing about: pixels, tensors, files' contents, or how any of these values is produced.

`Subject` has no label and must never have one: the rooms that describe and predict accept a `Subject`,
so that the answer cannot leak into the text. `Sample` joins a `Subject` with its `Target`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mien.errors import BoxError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DIMENSIONS",
    "Box",
    "Description",
    "Failure",
    "Finish",
    "ImageRef",
    "Prediction",
    "Problem",
    "Sample",
    "Subject",
    "Target",
]

# Continuous emotion, on a 0..1 scale: an annotator's 7 of 10 is 0.7.
DIMENSIONS: Final = ("valence", "arousal", "dominance")

# Why a description ended: by itself, or because it reached the limit on its length.
Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels of the upright image; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.as_tuple())):
            raise BoxError(
                f"box {self.as_tuple()} is not finite", hint="give left,top,right,bottom in pixels"
            )
        if self.right <= self.left or self.bottom <= self.top:
            raise BoxError(
                f"box {self.as_tuple()} is empty",
                hint="give left,top,right,bottom in pixels, with right > left and bottom > top",
            )

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
    """One person in a still or a clip; a still is a clip of length 1. `boxes` stands beside `images`."""

    id: str
    images: tuple[ImageRef, ...]
    boxes: tuple[Box | None, ...]

    def __post_init__(self) -> None:
        if not self.id:
            raise DataError("a subject has an empty id", hint="give every subject an id of its own")
        if not self.images or len(self.images) != len(self.boxes):
            raise DataError(
                f"subject {self.id!r} has {len(self.images)} images and {len(self.boxes)} boxes",
                hint="give at least one image, and one box (or None) for each",
            )

    @classmethod
    def still(cls, id: str, path: Path, box: Box | None = None) -> Subject:
        """A person in one photo."""
        return cls(id=id, images=(ImageRef(path=path),), boxes=(box,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What annotators saw: a score in 0..1 by label, and `DIMENSIONS` in 0..1 where they were asked.

    A label that is not named scores 0. Equal by value; not hashable, because its mappings are not.
    """

    labels: Mapping[str, float]
    dimensions: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        # Copied, so that a caller who goes on using its dict does not change the target.
        object.__setattr__(self, "labels", _unit_scores(self.labels, "label"))
        if self.dimensions is not None:
            _check_dimension_names(self.dimensions)
            object.__setattr__(self, "dimensions", _unit_scores(self.dimensions, "dimension"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A subject with its answer, for training and evaluation only; the target is None if unannotated."""

    subject: Subject
    target: Target | None
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an engine wrote about a subject, under the key of everything that determined it."""

    key: str
    subject_id: str
    text: str
    prompt_id: str
    engine: str
    finish: Finish

    def __post_init__(self) -> None:
        if self.finish not in get_args(Finish):
            raise DataError(
                f"description of {self.subject_id!r} has finish {self.finish!r}, not stop or length"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a subject has no description (yet), and how often that was tried."""

    key: str
    subject_id: str
    error: str
    retryable: bool
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How one subject appears to feel. `status` is "ok", or says in a word what is missing.

    `thresholds`: from which score on the model says that a label holds, where it was told; see `above`.
    """

    subject_id: str
    label_set: str
    scores: Mapping[str, float]
    dimensions: Mapping[str, float] | None = None
    description: Description | None = None
    status: str = "ok"
    thresholds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _unit_scores(self.scores, "label"))
        if self.dimensions is not None:
            _check_dimension_names(self.dimensions)
            # A regressor may leave 0..1 a little; that is shown, not hidden.
            object.__setattr__(self, "dimensions", dict(self.dimensions))

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The k highest (label, score), best first; equal scores keep the order of the labels."""
        return tuple(sorted(self.scores.items(), key=lambda item: -item[1])[:k])

    def above(self, thresholds: float | Mapping[str, float]) -> tuple[str, ...]:
        """The labels whose score reaches the threshold (one for all, or one by label), best first."""
        if not isinstance(thresholds, Mapping):
            return tuple(name for name, score in self.top(len(self.scores)) if score >= thresholds)
        missing = [name for name in self.scores if name not in thresholds]
        if missing:
            raise DataError(
                f"no threshold for label {missing[0]!r}", hint="give one threshold for every label"
            )
        return tuple(name for name, score in self.top(len(self.scores)) if score >= thresholds[name])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the labels keep their order. "above": those that reach their thresholds."""
        text = None if self.description is None else self.description.text
        above = {} if self.thresholds is None else {"above": list(self.above(self.thresholds))}
        return {
            "subject_id": self.subject_id,
            "label_set": self.label_set,
            "scores": dict(self.scores),
            "dimensions": None if self.dimensions is None else dict(self.dimensions),
            "description": text,
            "status": self.status,
            **above,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a data set on disk: `kind` is a word to group by, `file` where it is."""

    kind: str
    file: str
    message: str


def _unit_scores(scores: Mapping[str, float], kind: str) -> dict[str, float]:
    for name, score in scores.items():
        # Written so that NaN, which compares false with everything, is refused as well.
        if not 0.0 <= score <= 1.0:
            raise DataError(f"{kind} {name!r} has the score {score}", hint="give scores from 0 to 1")
    return dict(scores)


def _check_dimension_names(dimensions: Mapping[str, float]) -> None:
    if set(dimensions) != set(DIMENSIONS):
        raise DataError(f"dimensions are {sorted(dimensions)}", hint=f"give exactly {', '.join(DIMENSIONS)}")
