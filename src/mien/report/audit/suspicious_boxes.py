"""Boxes worth a look: those that extend outside their image, and the smallest.

Opens a dozen images at most, regardless of the size of the dataset.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mien.data.audit.image_checks import OutsideBox
from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.media.views import load_frames, select_frames
from mien.report.page_images import data_uri, draw_box
from mien.types import Box, ImageRef, Subject

__all__ = ["BoxCard", "suspicious_boxes"]

log = logging.getLogger(__name__)

_MAX_SHOWN: Final = 6  # of each type


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCard:
    """One box. `image` is a data URI, or "" with the reason in `error`."""

    id: str
    edges: str
    reason: str
    image: str
    error: str


def suspicious_boxes(dataset: Dataset, outside: Sequence[OutsideBox]) -> tuple[BoxCard, ...]:
    """The boxes farthest outside their image, then the smallest others; each subject occurs once."""
    farthest = heapq.nlargest(_MAX_SHOWN, outside, key=lambda box: box.outside)
    shown = {box.subject_id for box in farthest}
    smallest = heapq.nsmallest(
        _MAX_SHOWN,
        (pair for pair in _subjects_with_box(dataset) if pair[0].id not in shown),
        key=lambda pair: pair[1].width * pair[1].height,
    )
    return (
        *(_card(_subject(box), box.box, _outside_reason(box)) for box in farthest),
        *(_card(subject, box, _size_reason(box)) for subject, box in smallest),
    )


def _subjects_with_box(dataset: Dataset) -> Iterator[tuple[Subject, Box]]:
    """All subjects with a box; of a clip, the middle frame."""
    for _, record in dataset.all_records():
        subject = select_frames(record.sample.subject, "middle_frame")
        if subject.boxes[0] is not None:
            yield subject, subject.boxes[0]


def _subject(box: OutsideBox) -> Subject:
    image = ImageRef(path=box.path, frame=box.frame)
    return Subject(id=box.subject_id, images=(image,), boxes=(box.box,))


def _card(subject: Subject, box: Box, reason: str) -> BoxCard:
    image, error = _render(subject, box)
    return BoxCard(
        id=subject.id,
        edges=", ".join(f"{edge:.1f}" for edge in box.as_tuple()),
        reason=reason,
        image=image,
        error=error,
    )


def _render(subject: Subject, box: Box) -> tuple[str, str]:
    """A data URI, or "" and the reason."""
    try:
        loaded = next(iter(load_frames(subject)))
        return data_uri(draw_box(loaded.image, loaded.place(box) or box)), ""
    except MienError as error:
        # In ASCII, because ids may contain control characters and lone surrogates.
        log.warning("the box of %a is shown without its image: %a", subject.id, str(error))
        return "", str(error)


def _outside_reason(box: OutsideBox) -> str:
    if box.outside >= 1:
        return "entirely outside its image"
    return f"{100 * box.outside:.0f}% outside" if box.outside >= 0.01 else "less than 1% outside"


def _size_reason(box: Box) -> str:
    return f"one of the smallest: {box.width:.0f} x {box.height:.0f} pixels"
