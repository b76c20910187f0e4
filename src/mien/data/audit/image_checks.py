"""Checks one image or clip, already opened, against what the annotations say about it.

Reports at most one problem of each kind per file and one box problem per subject, and the boxes that extend
outside the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.audit.image_info import ImageInfo, ImageProblem
from mien.errors import BoxError
from mien.media.boxes import fits_only_turned
from mien.types import Box, Problem

__all__ = ["PLAIN_MODES", "FileSubject", "OutsideBox", "check_boxes", "check_file"]

# 8 bits per channel, which is what models see; converting any other mode loses something.
PLAIN_MODES: Final = ("RGB", "L")

_EDGE_TOLERANCE: Final = 0.01  # pixels, for the rounding error of left + width


@dataclass(frozen=True, slots=True)
class FileSubject:
    """One subject in one file.

    Attributes:
        frame_boxes: (frame, box) of each of the subject's images in this file; the frame of a still is None.
        stated_size: (width, height) according to the annotation file.
    """

    subject_id: str
    frame_boxes: tuple[tuple[int | None, Box | None], ...]
    stated_size: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideBox:
    """A box that extends outside its image.

    Attributes:
        size: (width, height) of the image.
        outside: The share of the box that is outside the image, exactly 1 if the whole box is.
    """

    subject_id: str
    path: Path
    frame: int | None
    box: Box
    size: tuple[int, int]
    outside: float


def check_file(
    path: Path, subjects: Sequence[FileSubject], found: ImageInfo | ImageProblem
) -> Iterator[Problem]:
    """Problems of the file itself."""
    if isinstance(found, ImageProblem):
        yield Problem(kind=found.kind, file=str(path), message=found.message)
        return
    if found.mode not in PLAIN_MODES:
        message = f"its mode is {found.mode}, not 8-bit RGB or grayscale"
        yield Problem(kind="color_mode", file=str(path), message=message)
    if found.notes:
        yield Problem(kind="image_note", file=str(path), message="; ".join(found.notes))
    stored, wrong = _first_wrong_sizes(subjects, found)
    for subject in stored:
        message = (
            f"the box of {subject.subject_id} was drawn on the image as stored, "
            f"{_pixels(subject.stated_size)}, but upright it has {_pixels(found.size)}"
        )
        yield Problem(kind="stored_orientation", file=str(path), message=message)
    for subject in wrong:
        message = (
            f"the annotation of {subject.subject_id} says {_pixels(subject.stated_size)}, but the image has "
            f"{_pixels(found.size)}"
        )
        yield Problem(kind="image_size", file=str(path), message=message)


def _first_wrong_sizes(
    subjects: Sequence[FileSubject], found: ImageInfo
) -> tuple[list[FileSubject], list[FileSubject]]:
    """At most one subject with a box on the image as stored, and one with a size that is neither."""
    stored: list[FileSubject] = []
    wrong: list[FileSubject] = []
    for subject in subjects:
        if subject.stated_size in (None, found.size):
            continue
        is_stored = _is_stored(subject.stated_size, found)
        # Without a box, the size before the image was turned is not a mistake.
        if not is_stored or any(box for _, box in subject.frame_boxes):
            (stored if is_stored else wrong).append(subject)
        if stored and wrong:
            break
    return stored[:1], wrong[:1]


def _pixels(size: tuple[int, int] | None) -> str:
    width, height = size or (0, 0)
    return f"{width} x {height} pixels"


def _is_stored(stated: tuple[int, int] | None, found: ImageInfo) -> bool:
    """Whether annotations state the size before the image, or the frames of the clip, are turned upright."""
    stored = found.stored_size if found.num_frames is None else found.size[::-1]
    return stated == stored


def check_boxes(
    path: Path, subject: FileSubject, found: ImageInfo
) -> tuple[list[Problem], OutsideBox | None]:
    """Problems of one subject's frames and boxes, and the box that is farthest outside, if any is."""
    problems = []
    if found.num_frames is not None:
        frames = [frame for frame, _ in subject.frame_boxes if frame is not None]
        beyond = [frame for frame in frames if not 0 <= frame < found.num_frames]
        if beyond:
            message = f"{subject.subject_id}: no frame {beyond[0]}, the clip has {found.num_frames} frames"
            problems.append(Problem(kind="frame_range", file=str(path), message=message))
    outside_boxes = [
        OutsideBox(
            subject_id=subject.subject_id, path=path, frame=frame, box=box, size=found.size, outside=outside
        )
        for frame, box in subject.frame_boxes
        if box is not None and (outside := _share_outside(box, found.size)) > 0
    ]
    if not outside_boxes:
        return problems, None
    worst = max(outside_boxes, key=lambda item: item.outside)
    message = _box_message(worst, len(outside_boxes), len(subject.frame_boxes))
    is_stored = found.stored_size == found.size[::-1] and fits_only_turned(worst.box, found.size)
    if is_stored and subject.stated_size is None:
        message += ", but not the image as stored; it may have been drawn before the image was turned"
        problems.append(Problem(kind="stored_orientation", file=str(path), message=message))
        return problems, worst
    kind = "box_outside" if worst.outside == 1 else "box_clipped"
    problems.append(Problem(kind=kind, file=str(path), message=message))
    return problems, worst


def _share_outside(box: Box, size: tuple[int, int]) -> float:
    try:
        inside = box.clip(*size)
    except BoxError:
        return 1.0
    edges = zip(box.as_tuple(), inside.as_tuple(), strict=True)
    if max(abs(original - clipped) for original, clipped in edges) <= _EDGE_TOLERANCE:
        return 0.0
    # Below 1 regardless of rounding, because part of the box is inside.
    return min(1.0 - inside.width * inside.height / (box.width * box.height), 1.0 - 1e-9)


def _box_message(worst: OutsideBox, num_outside: int, num_boxes: int) -> str:
    box = ", ".join(f"{edge:g}" for edge in worst.box.as_tuple())
    verb = "is outside" if worst.outside == 1 else "extends outside"
    place = "the image" if worst.frame is None else f"frame {worst.frame}"
    size = f"{worst.size[0]} x {worst.size[1]} pixels"
    count = f" (in {num_outside} of {num_boxes} frames)" if num_boxes > 1 else ""
    return f"{worst.subject_id}: the box ({box}) {verb} {place} of {size}{count}"
