"""BoLD: people in clips from films, 26 labels of apparent emotion by body language, and VAD.

In: `BOLD_public/{videos,joints,annotations}`. Out: records of one person in a few frames of a clip, with a
box in each. Knows nothing about the files' inner form: see `bold_csv`, `bold_joints`.

9,876 clips of 101 to 299 frames, 13,239 people. What trips people up:

- The labels are EMOTIC's words in another order.
- Scores are shares of agreement, 0..1. They are kept; they count as yes from 0.5 on, where that is asked.
- Frame numbers in the joints are absolute, and joints of low confidence stand anywhere.
- The labels of test were not released: published results are on val. Test can be described and predicted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from mien.data.bold.checks import Appearance, check_appearances
from mien.data.bold.csv_reader import ATTRIBUTES, FILES, VERSION, parse, subject_id
from mien.data.bold.joints import JointsFile, read_joints
from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.data.table_cache import Tables
from mien.digests import digest
from mien.errors import DataError
from mien.labels import BOLD, LabelSet
from mien.media.clips import spread
from mien.recipe import DataOptions, Options
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

__all__ = ["Bold", "BoldOptions"]

log = logging.getLogger(__name__)

_FOLDER: Final = "BOLD_public"
_ACCESS: Final = "ask for it at https://cydar.ist.psu.edu/emotionchallenge, for research"
_TRAIN, _DEV = "train", "dev"
_POSITIVE: Final = 0.5  # from this score on a label counts as seen

Row = Mapping[str, Any]


def _anywhere(name: str) -> tuple[str, ...]:
    """Below the release's folder, whether the root is that or holds it."""
    return (name, f"{_FOLDER}/{name}")


class BoldOptions(Options):
    """`[data.options]` of BoLD.

    `num_frames`: spread over the frames in which a person is annotated. `soft`: scores are kept as they are,
    or else made 1 from 0.5 on and 0 below. `min_confidence`: joints below it are ignored. `bridge`: over so
    many frames from where a person is seen a box is inferred. `frames`: whether the annotations count frames
    within the clip, or absolutely as the joints do. `margin`: boxes of joints leave out what has no joint,
    such as hair and hands; on each side, this share of their width or height is added, also beyond the frame.
    `dev_share`: of the films in train, told off as "dev" to stop by, because val is what is reported.
    """

    num_frames: int = Field(default=8, gt=0, le=10_000)
    soft: bool = True
    min_confidence: float = Field(default=0.1, ge=0, le=1)
    bridge: int = Field(default=25, ge=0)
    frames: Literal["clip", "absolute"] = "clip"
    margin: float = Field(default=0.0, ge=0)
    dev_share: float = Field(default=0.0, ge=0, lt=1)


class Bold(Dataset):
    """BoLD (Luo, Ye, Adams, Li, Newman, Wang; IJCV 2020); `data.root` is `BOLD_public` or what holds it.

    A subject is called `{video}#{person_id}@{min_frame}-{max_frame}`. Where joints are missing, or a person
    is not seen for long, boxes are None: such a frame is shown without a mark.
    """

    card = DatasetCard(
        name="bold",
        title="BoLD: body language in clips from films",
        license="research that is not commercial, by request; the films belong to their makers",
        homepage="https://cydar.ist.psu.edu/emotionchallenge",
        task="26 labels of apparent emotion with scores of 0 to 1; valence, arousal, dominance of 1 to 10",
        access=_ACCESS,
        components=(
            Component(name="annotations of train", globs=_anywhere("annotations/train.csv")),
            Component(name="annotations of val", globs=_anywhere("annotations/val.csv")),
            Component(name="list of test", globs=_anywhere("annotations/test_meta.csv"), required=False),
            Component(name="clips", globs=_anywhere("videos/*")),
            Component(name="joints", globs=_anywhere("joints/*")),
        ),
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = BoldOptions.parse(options.options, where="[data.options] of bold")
        if options.root is None:
            raise DataError("no folder of BoLD is named", hint=f"set data.root to it, or {_ACCESS}")
        self._root = _release(options.root)
        folder = self._root / "annotations"
        files = {split: folder / name for split, name in FILES.items() if (folder / name).is_file()}
        if not files:
            raise DataError(
                f"{folder} holds none of {', '.join(FILES.values())}",
                hint=f"set data.root to {_FOLDER}, or {_ACCESS}",
            )
        self._tables = Tables.open(
            cache,
            name="bold",
            version=VERSION,
            sources=list(files.values()),
            options=[str(path) for path in files.values()],  # problems name them
            parse=lambda: parse(files),
        )
        self._warned = False

    @property
    def label_set(self) -> LabelSet:
        return BOLD

    @property
    def splits(self) -> tuple[str, ...]:
        there = [split for split in FILES if split in self._tables.splits]
        if self._options.dev_share and _TRAIN in there:
            there.insert(there.index(_TRAIN) + 1, _DEV)
        return tuple(there)

    def problems(self) -> Sequence[Problem]:
        return self._tables.problems()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._tables.problems(_file_of(split), unusable=True)

    def sidecar_problems(self) -> Iterator[Problem]:
        """Faults of joints, and frames that a clip does not have; reads all joints and opens all clips."""
        yield from check_appearances(
            self._appearance(row, joints, file)
            for split in self.splits
            for row, joints, file in self._rows(split)
        )

    def _records(self, split: str) -> Iterator[Record]:
        for row, joints, file in self._rows(split):
            seen = self._appearance(row, joints, file)
            if seen.error is not None:
                if self._options.frames == "absolute":
                    raise DataError(
                        f"where {seen.subject_id} begins is not known: {seen.error}",
                        hint='with frames = "absolute", only the joints tell where a clip begins',
                    )
                self._warn(seen.error)
            images = tuple(ImageRef(path=seen.clip, frame=frame) for frame in seen.frames)
            subject = Subject(id=seen.subject_id, images=images, boxes=seen.boxes)
            attributes = {name: row[name] for name in ATTRIBUTES if row[name]}
            sample = Sample(subject=subject, target=self._target(row), split=split)
            yield Record(sample=sample, attributes=attributes)

    def _rows(self, split: str) -> Iterator[tuple[Row, Path, JointsFile | DataError]]:
        """Each row with its joints, or why there are none; kept for the next, as people share clips."""
        path, file = None, None
        for row in self._tables.rows(_file_of(split)):
            if self._split(row, split) != split:
                continue
            own = (self._root / "joints" / row["video"]).with_suffix(".npy")
            if file is None or own != path:
                path, file = own, _try_joints(own)
            yield row, own, file

    def _split(self, row: Row, file: str) -> str:
        """By a lot that depends on the film's name alone: its clips and their people stay together."""
        if _file_of(file) != _TRAIN or not self._options.dev_share:
            return file
        film = row["video"].rpartition("/")[0]
        return _DEV if int(digest(film)[:8], 16) / 16**8 < self._options.dev_share else _TRAIN

    def _appearance(self, row: Row, joints: Path, file: JointsFile | DataError) -> Appearance:
        first, last = self._range(row, file)
        frames = spread(first, last, self._options.num_frames)
        boxes: tuple[Box | None, ...] = (None,) * len(frames)
        num_seen, error = 0, None
        if isinstance(file, DataError):
            error = file
        else:
            track = file.track(row["person_id"], min_confidence=self._options.min_confidence)
            num_seen, track = track.num_seen(first, last), track.grown(self._options.margin)
            boxes = track.boxes_in(frames, bridge=self._options.bridge)
        return Appearance(
            subject_id=subject_id(row),
            clip=self._root / "videos" / row["video"],
            joints=joints,
            first=first,
            last=last,
            frames=frames,
            boxes=boxes,
            num_seen=num_seen,
            error=error,
        )

    def _range(self, row: Row, file: JointsFile | DataError) -> tuple[int, int]:
        """The first and the last frame of an annotation, counted within the clip."""
        if self._options.frames == "clip":
            return row["min_frame"], row["max_frame"]
        if isinstance(file, DataError):
            return 0, 0  # not known; nobody is shown so, and the missing joints are what is reported
        return row["min_frame"] - file.first, row["max_frame"] - file.first

    def _target(self, row: Row) -> Target | None:
        if row["scores"] is None:
            return None
        scores = BOLD.decode(row["scores"])
        if not self._options.soft:
            scores = {label: float(score >= _POSITIVE) for label, score in scores.items()}
        dimensions = None
        if row["dimensions"] is not None:
            steps = (step / 10 for step in row["dimensions"])
            dimensions = dict(zip(DIMENSIONS, steps, strict=True))
        return Target(
            labels={label: score for label, score in scores.items() if score > 0}, dimensions=dimensions
        )

    def _warn(self, error: DataError) -> None:
        if not self._warned:
            log.warning("%s; its people, and those of others like it, are shown without a box", error)
        self._warned = True


def _file_of(split: str) -> str:
    """The split of the release in which a split's rows stand."""
    return _TRAIN if split == _DEV else split


def _try_joints(path: Path) -> JointsFile | DataError:
    try:
        return read_joints(path)
    except DataError as error:
        return error


def _release(root: Path) -> Path:
    """The folder of the release: the root itself, or the one of its name in it."""
    inner = root / _FOLDER
    return inner if (inner / "annotations").is_dir() and not (root / "annotations").is_dir() else root
