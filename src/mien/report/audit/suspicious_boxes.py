"""The boxes of a data set that somebody should look at: those that leave their picture, and the smallest.

In: a data set, and the boxes that were found to leave their picture. Out: pictures with their box in red,
each with the reason. Knows nothing about: HTML. Opens a dozen pictures, however large the data set is.
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
from mien.report.embedded_images import data_uri, with_box
from mien.types import Box, ImageRef, Subject

__all__ = ["BoxCard", "worst_boxes"]

log = logging.getLogger(__name__)

_SHOWN: Final = 6  # of each sort


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCard:
    """One box. `picture` is a data URI, or "" with the reason in `no_picture`."""

    id: str
    edges: str
    reason: str
    picture: str
    no_picture: str


def worst_boxes(dataset: Dataset, faults: Sequence[OutsideBox]) -> tuple[BoxCard, ...]:
    """Those that leave their picture the farthest, then the smallest; nobody comes twice."""
    out = heapq.nlargest(_SHOWN, faults, key=lambda fault: fault.outside)
    shown = {fault.subject_id for fault in out}
    small = heapq.nsmallest(
        _SHOWN,
        (pair for pair in _boxed(dataset) if pair[0].id not in shown),
        key=lambda pair: pair[1].width * pair[1].height,
    )
    return (
        *(_card(_subject(fault), fault.box, _outside(fault)) for fault in out),
        *(_card(subject, box, _size(box)) for subject, box in small),
    )


def _boxed(dataset: Dataset) -> Iterator[tuple[Subject, Box]]:
    """Everybody who has a box; of a clip, the frame in the middle."""
    for split in dataset.splits:
        for record in dataset.records(split):
            subject = select_frames(record.sample.subject, "middle_frame")
            if subject.boxes[0] is not None:
                yield subject, subject.boxes[0]


def _subject(fault: OutsideBox) -> Subject:
    image = ImageRef(path=fault.path, frame=fault.frame)
    return Subject(id=fault.subject_id, images=(image,), boxes=(fault.box,))


def _card(subject: Subject, box: Box, reason: str) -> BoxCard:
    picture, missing = _picture(subject, box)
    return BoxCard(
        id=subject.id,
        edges=", ".join(f"{edge:.1f}" for edge in box.as_tuple()),
        reason=reason,
        picture=picture,
        no_picture=missing,
    )


def _picture(subject: Subject, box: Box) -> tuple[str, str]:
    """A data URI, or "" and why there is none."""
    try:
        return data_uri(with_box(next(iter(load_frames(subject))), box)), ""
    except MienError as error:
        # In ASCII: an id may hold anything, control characters and halves of characters included.
        log.warning("box of %a is shown without its picture: %a", subject.id, str(error))
        return "", str(error)


def _outside(fault: OutsideBox) -> str:
    if fault.outside >= 1:
        return "wholly outside of its picture"
    return (
        f"{100 * fault.outside:.0f} % of it outside"
        if fault.outside >= 0.01
        else "less than 1 % of it outside"
    )


def _size(box: Box) -> str:
    return f"one of the smallest: {box.width:.0f} x {box.height:.0f} pixels"
