"""What is wrong with one picture or clip, given everybody who is in it.

In: a path, the subjects that use it, and what was seen when it was opened. Out: problems, at most one of a
kind for the file and at most one for each subject in it, and the boxes that stick out.
Knows nothing about opening files, other pictures, or splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.audit.fingerprints import ImageInfo, ImageProblem
from mien.errors import BoxError
from mien.types import Box, Problem

__all__ = ["PLAIN_MODES", "OutsideBox", "Use", "check_boxes", "check_file"]

# 8 bits a channel, as models are shown; of all other modes something is lost on the way.
PLAIN_MODES: Final = ("RGB", "L")

_SLACK: Final = 0.01  # pixels; what left + width may come to in floating point


@dataclass(frozen=True, slots=True)
class Use:
    """One subject in one file. `marks`: (frame, box) of each of its pictures there; the frame of a still is
    None. `claimed`: the size that the annotation file states."""

    subject_id: str
    marks: tuple[tuple[int | None, Box | None], ...]
    claimed: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideBox:
    """A box that leaves its picture. `size`: (width, height) of the picture; `outside`: the share of the box
    that is not in it, 1 if nothing is."""

    subject_id: str
    path: Path
    frame: int | None
    box: Box
    size: tuple[int, int]
    outside: float


def check_file(path: Path, uses: Sequence[Use], found: ImageInfo | ImageProblem) -> Iterator[Problem]:
    """What is wrong with the file itself, whoever is in it."""
    if isinstance(found, ImageProblem):
        yield Problem(kind=found.kind, file=str(path), message=found.message)
        return
    if found.mode not in PLAIN_MODES:
        message = f"its mode is {found.mode}, not 8-bit RGB or grey"
        yield Problem(kind="color_mode", file=str(path), message=message)
    # Before it was turned upright, a picture had the other size: that claim is no mistake either.
    wrong = [use for use in uses if use.claimed not in (None, found.size, found.stored)]
    if wrong:
        stated, real = (f"{size[0]} x {size[1]}" for size in (wrong[0].claimed or (0, 0), found.size))
        message = f"the annotation of {wrong[0].subject_id} says {stated} pixels, the picture has {real}"
        yield Problem(kind="image_size", file=str(path), message=message)


def check_boxes(path: Path, use: Use, found: ImageInfo) -> tuple[list[Problem], OutsideBox | None]:
    """What is wrong with where one subject is said to be, and its worst box, if one leaves the picture."""
    problems = []
    if found.num_frames is not None:
        beyond = [frame for frame, _ in use.marks if frame is not None and not 0 <= frame < found.num_frames]
        if beyond:
            message = f"{use.subject_id}: there is no frame {beyond[0]}, the clip has {found.num_frames}"
            problems.append(Problem(kind="frame_range", file=str(path), message=message))
    faults = [
        OutsideBox(
            subject_id=use.subject_id, path=path, frame=frame, box=box, size=found.size, outside=outside
        )
        for frame, box in use.marks
        if box is not None and (outside := _share_outside(box, found.size)) > 0
    ]
    if not faults:
        return problems, None
    worst = max(faults, key=lambda fault: fault.outside)
    kind = "box_outside" if worst.outside == 1 else "box_clipped"
    problems.append(
        Problem(kind=kind, file=str(path), message=_box_message(worst, len(faults), len(use.marks)))
    )
    return problems, worst


def _share_outside(box: Box, size: tuple[int, int]) -> float:
    try:
        inside = box.clip(*size)
    except BoxError:
        return 1.0
    edges = zip(box.as_tuple(), inside.as_tuple(), strict=True)
    if max(abs(mine - kept) for mine, kept in edges) <= _SLACK:
        return 0.0
    # Below 1 whatever rounding does: something of it is inside.
    return min(1.0 - inside.width * inside.height / (box.width * box.height), 1.0 - 1e-9)


def _box_message(fault: OutsideBox, num_faults: int, num_marks: int) -> str:
    box = ", ".join(f"{edge:g}" for edge in fault.box.as_tuple())
    what = "lies outside of" if fault.outside == 1 else "sticks out of"
    where = "the picture" if fault.frame is None else f"frame {fault.frame}"
    also = f"; {num_faults} of {num_marks} frames are so" if num_marks > 1 else ""
    size = f"{fault.size[0]} x {fault.size[1]} pixels"
    return f"{fault.subject_id}: the box ({box}) {what} {where} of {size}{also}"
