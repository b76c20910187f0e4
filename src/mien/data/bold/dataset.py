"""The BoLD dataset: people in clips from films, with apparent emotion judged from body language."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from mien.data.bold.csv_reader import ATTRIBUTES, FILE_NAMES, TABLE_VERSION, read_annotations, subject_id
from mien.data.bold.joints import JointsFile, read_joints
from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.data.table_cache import CachedTables
from mien.digests import digest
from mien.errors import ClipError, DataError
from mien.labels import BOLD, LabelSet
from mien.media.clips import probe_clip, spread_frames
from mien.recipe import DataOptions, Options
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

__all__ = ["Bold", "BoldOptions"]

log = logging.getLogger(__name__)

_RELEASE: Final = "BOLD_public"
_ACCESS: Final = "request it at https://cydar.ist.psu.edu/emotionchallenge, for research"
_TRAIN, _DEV = "train", "dev"
_POSITIVE: Final = 0.5  # scores from here on count as positive if `soft` is false

Row = Mapping[str, Any]


def _release_globs(name: str) -> tuple[str, ...]:
    """A path in the release, whether the root is the release's folder or contains it."""
    return (name, f"{_RELEASE}/{name}")


class BoldOptions(Options):
    """`[data.options]` of BoLD.

    Attributes:
        num_frames: Number of frames, spread evenly over the frames in which a person is annotated.
        soft: Keep scores; otherwise they become 1 from 0.5 on, and 0 below.
        min_confidence: Joints below this confidence are ignored.
        bridge: Boxes are inferred up to this many frames away from a frame in which the person is detected.
        frames: Whether annotations count frames within the clip, or absolutely as the joints do.
        margin: Share of the width or height that is added to a box on each side, also beyond the frame. Boxes
            of joints exclude what has no joint, such as hair and hands.
        dev_share: Share of the films in train that is held out as the split "dev", to select checkpoints on,
            because results are reported on val.
    """

    num_frames: int = Field(default=8, gt=0, le=10_000)
    soft: bool = True
    min_confidence: float = Field(default=0.1, ge=0, le=1)
    bridge: int = Field(default=25, ge=0)
    frames: Literal["clip", "absolute"] = "clip"
    margin: float = Field(default=0.0, ge=0)
    dev_share: float = Field(default=0.0, ge=0, lt=1)


class Bold(Dataset):
    """BoLD: 13,239 people in 9,876 clips of 101 to 299 frames, with 26 labels of apparent emotion and VAD.

    Luo, Ye, Adams, Li, Newman, Wang: "ARBEE: Towards Automated Recognition of Bodily Expression of Emotion in
    the Wild", IJCV 2020. Available on request, for research.

    `data.root` is the folder `BOLD_public` with `videos`, `joints` and `annotations`, or the folder that
    holds it.

    - **Labels** are EMOTIC's in another order.
    - **Scores** are shares of annotators who agree, 0 to 1. They are kept, unless `soft` is false.
    - **Test** has no released labels: published results are on val. Test can be described and predicted.
    - **Boxes** enclose the joints that OpenPose detected, and are not clipped here. They are None where
      joints are missing or a person is not detected for long: such a frame is shown without a mark. Joints of
      low confidence can be anywhere.
    - **Frame numbers** in the joints are absolute, counted within the film.
    - **Ids** are `{video}#{person_id}@{min_frame}-{max_frame}`.
    """

    card = DatasetCard(
        name="bold",
        title="BoLD: body language in clips from films",
        license="non-commercial research, on request; the films belong to their makers",
        homepage="https://cydar.ist.psu.edu/emotionchallenge",
        task="26 labels of apparent emotion, scored 0 to 1; valence, arousal, dominance from 1 to 10",
        access=_ACCESS,
        components=(
            Component(name="annotations of train", globs=_release_globs("annotations/train.csv")),
            Component(name="annotations of val", globs=_release_globs("annotations/val.csv")),
            Component(name="list of test", globs=_release_globs("annotations/test_meta.csv"), required=False),
            Component(name="clips", globs=_release_globs("videos/*")),
            Component(name="joints", globs=_release_globs("joints/*")),
        ),
        attributes=("gender", "age", "ethnicity"),
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = BoldOptions.parse(options.options, where="[data.options] of bold")
        self._root = _find_release(self._require_root("BoLD"))
        folder = self._root / "annotations"
        files = {split: folder / name for split, name in FILE_NAMES.items() if (folder / name).is_file()}
        if not files:
            raise DataError(
                f"{folder} has none of {', '.join(FILE_NAMES.values())}",
                hint=f"set data.root to {_RELEASE}, or {_ACCESS}",
            )
        self._tables = CachedTables.open(
            cache,
            name="bold",
            version=TABLE_VERSION,
            sources=list(files.values()),
            options=[str(path) for path in files.values()],  # because problems name these paths
            parse=lambda: read_annotations(files),
        )
        self._has_warned = False

    @property
    def label_set(self) -> LabelSet:
        return BOLD

    @property
    def splits(self) -> tuple[str, ...]:
        splits = [split for split in FILE_NAMES if split in self._tables.splits]
        if self._options.dev_share and _TRAIN in splits:
            splits.insert(splits.index(_TRAIN) + 1, _DEV)
        return tuple(splits)

    def problems(self) -> Sequence[Problem]:
        return self._tables.problems()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._tables.problems(_released_split(split), unusable_only=True)

    def sidecar_problems(self) -> Iterator[Problem]:
        """Faulty joints, and frames beyond the end of a clip. Reads all joints and opens all clips."""
        yield from _check_appearances(
            self._appearance(row, joints_path, joints)
            for split in self.splits
            for row, joints_path, joints in self._rows_with_joints(split)
        )

    def _records(self, split: str) -> Iterator[Record]:
        for row, joints_path, joints in self._rows_with_joints(split):
            appearance = self._appearance(row, joints_path, joints)
            if appearance.error is not None:
                if self._options.frames == "absolute":
                    raise DataError(
                        f"the first frame of {appearance.subject_id} is unknown: {appearance.error}",
                        hint='with frames = "absolute", the joints are needed to locate a clip in its film',
                    )
                self._warn_once(appearance.error)
            images = tuple(ImageRef(path=appearance.clip, frame=frame) for frame in appearance.frames)
            subject = Subject(id=appearance.subject_id, images=images, boxes=appearance.boxes)
            attributes = {name: row[name] for name in ATTRIBUTES if row[name]}
            sample = Sample(subject=subject, target=self._target(row), split=split)
            yield Record(sample=sample, attributes=attributes)

    def _rows_with_joints(self, split: str) -> Iterator[tuple[Row, Path, JointsFile | DataError]]:
        """Each row with its joints, or why they are missing. Read once for consecutive rows of a clip."""
        joints_path, joints = None, None
        for row in self._tables.rows(_released_split(split)):
            if self._split_of(row, split) != split:
                continue
            path = (self._root / "joints" / row["video"]).with_suffix(".npy")
            if joints is None or path != joints_path:
                joints_path, joints = path, _try_read_joints(path)
            yield row, path, joints

    def _split_of(self, row: Row, split: str) -> str:
        """Train or dev, chosen by a hash of the film's name: a film's clips and people stay together."""
        if _released_split(split) != _TRAIN or not self._options.dev_share:
            return split
        film = row["video"].rpartition("/")[0]
        return _DEV if int(digest(film)[:8], 16) / 16**8 < self._options.dev_share else _TRAIN

    def _appearance(self, row: Row, joints_path: Path, joints: JointsFile | DataError) -> _Appearance:
        first, last = self._frame_range(row, joints)
        frames = spread_frames(first, last, self._options.num_frames)
        boxes: tuple[Box | None, ...] = (None,) * len(frames)
        num_detected, error = 0, None
        if isinstance(joints, DataError):
            error = joints
        else:
            track = joints.track(row["person_id"], min_confidence=self._options.min_confidence)
            num_detected = track.num_detected(first, last)
            boxes = track.expanded(self._options.margin).boxes_in(frames, bridge=self._options.bridge)
        return _Appearance(
            subject_id=subject_id(row),
            clip=self._root / "videos" / row["video"],
            joints_path=joints_path,
            first=first,
            last=last,
            frames=frames,
            boxes=boxes,
            num_detected=num_detected,
            error=error,
        )

    def _frame_range(self, row: Row, joints: JointsFile | DataError) -> tuple[int, int]:
        """The first and the last frame of an annotation, counted within the clip."""
        if self._options.frames == "clip":
            return row["min_frame"], row["max_frame"]
        if isinstance(joints, DataError):
            return 0, 0  # unknown; no record is made of it, and the missing joints are reported
        return row["min_frame"] - joints.first, row["max_frame"] - joints.first

    def _target(self, row: Row) -> Target | None:
        if row["scores"] is None:
            return None
        scores = BOLD.decode(row["scores"])
        if not self._options.soft:
            scores = {label: float(score >= _POSITIVE) for label, score in scores.items()}
        dimensions = None
        if row["dimensions"] is not None:
            scaled = (rating / 10 for rating in row["dimensions"])
            dimensions = dict(zip(DIMENSIONS, scaled, strict=True))
        return Target(
            labels={label: score for label, score in scores.items() if score > 0}, dimensions=dimensions
        )

    def _warn_once(self, error: DataError) -> None:
        if not self._has_warned:
            log.warning("%s; people without joints, here and in other clips, are shown without a box", error)
        self._has_warned = True


def _released_split(split: str) -> str:
    """The split of the release that has a split's rows."""
    return _TRAIN if split == _DEV else split


def _try_read_joints(path: Path) -> JointsFile | DataError:
    try:
        return read_joints(path)
    except DataError as error:
        return error


def _find_release(root: Path) -> Path:
    """The folder of the release: the root, or the folder of that name in it."""
    inner = root / _RELEASE
    return inner if (inner / "annotations").is_dir() and not (root / "annotations").is_dir() else root


# --- Joints and clips --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Appearance:
    """One person in one clip, annotated from frame `first` to `last`, both counted within the clip.

    Attributes:
        frames: The frames that are used.
        boxes: The person's box in each of `frames`.
        num_detected: Number of frames in the range in which the person is detected.
        error: Why there are no joints for this clip.
    """

    subject_id: str
    clip: Path
    joints_path: Path
    first: int
    last: int
    frames: tuple[int, ...]
    boxes: tuple[Box | None, ...]
    num_detected: int
    error: DataError | None = None


def _check_appearances(appearances: Iterable[_Appearance]) -> Iterator[Problem]:
    """At most one problem of a kind per appearance; missing joints once per clip.

    Opens clips only to count their frames. Whether a clip is complete is checked by `mien.data.audit.verify`.
    """
    lengths: dict[Path, int | None] = {}
    for item in appearances:
        if item.clip not in lengths:
            lengths[item.clip] = _num_frames(item.clip)
            if item.error is not None:
                yield Problem(kind="joints_missing", file=str(item.joints_path), message=str(item.error))
        num_frames = lengths[item.clip]
        if item.error is None:
            yield from _check_joints(item)
        # `last == num_frames` is accepted: the release does not say whether the last frame is inclusive.
        if item.first < 0 or (num_frames is not None and item.last > num_frames):
            counted = "" if num_frames is None else f", but the clip has {num_frames}"
            message = f"{item.subject_id}: annotated from frame {item.first} to {item.last}{counted}"
            yield Problem(kind="frame_range", file=str(item.clip), message=message)


def _check_joints(item: _Appearance) -> Iterator[Problem]:
    if not item.num_detected:
        message = f"{item.subject_id}: no joints of this person from frame {item.first} to {item.last}"
        yield Problem(kind="no_person", file=str(item.joints_path), message=message)
        return
    without_box = [frame for frame, box in zip(item.frames, item.boxes, strict=True) if box is None]
    if without_box:
        numbers = ", ".join(map(str, dict.fromkeys(without_box)))
        message = f"{item.subject_id}: not detected in or near frames {numbers}"
        yield Problem(kind="joints_gap", file=str(item.joints_path), message=message)


def _num_frames(path: Path) -> int | None:
    """None if the clip cannot be opened, which `mien.data.audit.verify` reports."""
    try:
        return probe_clip(path).num_frames
    except ClipError:
        return None
