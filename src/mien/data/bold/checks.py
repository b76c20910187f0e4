"""What only the joints and the clips of BoLD tell to be wrong.

In: where each annotated person appears. Out: problems. Opens clips, to count their frames, and decodes next
to nothing: whether a clip is whole is the business of `mien.data.audit.verify`.
Knows nothing about annotation files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ClipError, DataError
from mien.media.clips import probe
from mien.types import Box, Problem

__all__ = ["Appearance", "check_appearances"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """One person in one clip: annotated from frame `first` to `last`, both counted within the clip.

    `frames` are those that are looked at, `boxes` where the person is in them; `num_seen`: in so many frames
    of the range there are joints. `error`: why there are no joints of anybody.
    """

    subject_id: str
    clip: Path
    joints: Path
    first: int
    last: int
    frames: tuple[int, ...]
    boxes: tuple[Box | None, ...]
    num_seen: int
    error: DataError | None = None


def check_appearances(appearances: Iterable[Appearance]) -> Iterator[Problem]:
    """The problems of appearances, one of a kind for each of them; missing joints once for each clip."""
    lengths: dict[Path, int | None] = {}
    for item in appearances:
        if item.clip not in lengths:
            lengths[item.clip] = _num_frames(item.clip)
            if item.error is not None:
                yield Problem(kind="joints_missing", file=str(item.joints), message=str(item.error))
        num_frames = lengths[item.clip]
        if item.error is None:
            yield from _check_joints(item)
        # Nowhere is it said whether the last frame is included, and nothing hangs on that one.
        if item.first < 0 or (num_frames is not None and item.last > num_frames):
            counted = "" if num_frames is None else f", the clip has {num_frames}"
            message = f"{item.subject_id}: annotated from frame {item.first} to {item.last}{counted}"
            yield Problem(kind="frame_range", file=str(item.clip), message=message)


def _check_joints(item: Appearance) -> Iterator[Problem]:
    if not item.num_seen:
        message = f"{item.subject_id}: no joints of this person from frame {item.first} to {item.last}"
        yield Problem(kind="no_person", file=str(item.joints), message=message)
        return
    lost = [frame for frame, box in zip(item.frames, item.boxes, strict=True) if box is None]
    if lost:
        names = ", ".join(map(str, dict.fromkeys(lost)))
        message = f"{item.subject_id}: not seen in, nor near, frames {names}"
        yield Problem(kind="joints_gap", file=str(item.joints), message=message)


def _num_frames(path: Path) -> int | None:
    """None where the clip cannot be opened, which is reported when it is looked at as a whole."""
    try:
        return probe(path).num_frames
    except ClipError:
        return None
