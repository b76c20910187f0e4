"""From what a model proposes to detections: suppression of duplicates, limits, and a fixed order."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from mien.detection.overlap import suppress_duplicates
from mien.errors import EngineError
from mien.predict.detect.detector import Detection, DetectorOptions
from mien.types import Box

__all__ = ["select_detections"]

_log = logging.getLogger(__name__)


def select_detections(
    boxes: Float[np.ndarray, "box 4"],
    scores: Float[np.ndarray, " box"],
    size: tuple[int, int],
    options: DetectorOptions,
    *,
    widen: Callable[[Float[np.ndarray, "box 4"]], Float[np.ndarray, "box 4"]] | None = None,
) -> tuple[Detection, ...]:
    """The boxes that are people.

    Edges are rounded to whole pixels, and scores to four decimals: descriptions are looked up by the box, so
    it must not depend on the last digits, which change with the size of a batch.

    Args:
        boxes: Left, top, right and bottom of each proposed box, in pixels of the upright image.
        scores: Their scores from 0 to 1.
        size: (width, height) of the upright image.
        options: With the model's own values in place of None.
        widen: Makes body boxes of those that remain after suppression.

    Raises:
        EngineError: A score, or the box of a score that is high enough, is not finite.
    """
    assert options.min_score is not None
    scores = scores.astype(np.float64).round(4)
    is_kept = ~(scores < options.min_score)  # keeps NaN, which is an error
    boxes, scores = boxes[is_kept].astype(np.float64), scores[is_kept]
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise EngineError(
            "the detector's boxes or scores are not finite", hint="the model may be damaged; copy it again"
        )
    if options.max_overlap is not None:
        kept = suppress_duplicates(boxes, scores, options.max_overlap)
        boxes, scores = boxes[kept], scores[kept]
    boxes = boxes if widen is None else widen(boxes)
    edges = np.floor(boxes.clip(0, [*size, *size]) + 0.5)
    is_large = (edges[:, 2:] - edges[:, :2] >= options.min_size).all(axis=1)
    rows = zip(scores[is_large].tolist(), edges[is_large].tolist(), strict=True)
    ordered = sorted(rows, key=lambda row: (-row[0], row[1]))
    return _limit([Detection(box=Box.from_tuple((*box,)), score=score) for score, box in ordered], options)


def _limit(found: list[Detection], options: DetectorOptions) -> tuple[Detection, ...]:
    if options.max_people is not None and len(found) > options.max_people:
        _log.warning(
            "found %d people in an image; only the %d with the highest scores are returned (max_people)",
            len(found),
            options.max_people,
        )
    return tuple(found[: options.max_people])
