"""Small copies of BoLD's release, written cell by cell. Clips are not written, because reading opens none.

Independent of Playhouse's writer, and of the reader except for the names of the labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mien.data import open_dataset
from mien.data.bold.dataset import Bold
from mien.recipe import DataOptions
from mien.types import Problem

# The release's label columns, written independently of `mien.labels`.
ORDER = (
    *("Peace", "Affection", "Esteem", "Anticipation", "Engagement", "Confidence", "Happiness", "Pleasure"),
    *("Excitement", "Surprise", "Sympathy", "Doubt/Confusion", "Disconnection", "Fatigue", "Embarrassment"),
    *("Yearning", "Disapproval", "Aversion", "Annoyance", "Anger", "Sensitivity", "Sadness", "Disquietment"),
    *("Fear", "Pain", "Suffering"),
)

Joint = tuple[float, float, float]


def joints_at(*edges: float, confidence: float = 0.9) -> list[Joint]:
    """18 joints with this bounding box: left, top, right, bottom."""
    left, top, right, bottom = edges
    corners = [(left, top, confidence), (right, bottom, confidence)]
    return [*corners, *[((left + right) / 2, (top + bottom) / 2, confidence)] * 16]


@dataclass
class Someone:
    """One annotated person. `seen`: the joints by frame of the clip."""

    person_id: int = 0
    first: int = 0
    last: int = 9
    scores: Mapping[str, float] = field(default_factory=lambda: {"Peace": 1.0})
    dimensions: Sequence[float] | None = (5.0, 6.0, 7.0)
    attributes: Sequence[str] = ("Female", "Adult", "Asian", "0.75")
    seen: Mapping[int, Sequence[Joint]] = field(default_factory=dict)

    def cells(self, video: str) -> list[str]:
        """The 37 cells of the row."""
        scores = [repr(float(self.scores.get(label, 0.0))) for label in ORDER]
        dimensions = [""] * 3 if self.dimensions is None else [repr(rating) for rating in self.dimensions]
        who = [video, str(self.person_id), str(self.first), str(self.last)]
        return [*who, *scores, *dimensions, *self.attributes]


def everywhere(*edges: float, frames: Sequence[int] = range(10)) -> dict[int, list[Joint]]:
    """Joints in all these frames, at the same position."""
    return {frame: joints_at(*edges) for frame in frames}


def save_annotations(root: Path, name: str, rows: Sequence[Sequence[str]]) -> None:
    path = root / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (",".join(f'"{cell}"' if {",", '"'} & {*cell} else cell for cell in row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def save_joints(root: Path, video: str, people: Sequence[Someone], offset: int = 0) -> Path:
    """Writes rows in the order of frames. `offset` is the absolute number of the clip's first frame."""
    rows = [
        [frame + offset, someone.person_id, *(part for joint in someone.seen[frame] for part in joint)]
        for frame in sorted({frame for someone in people for frame in someone.seen})
        for someone in people
        if frame in someone.seen
    ]
    path = root / "joints" / video.removesuffix(".mp4")
    path = path.with_name(path.name + ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, dtype=np.float64))
    return path


def save_clip(root: Path, video: str, *people: Someone, offset: int = 0, split: str = "train") -> Path:
    """Writes a split of one clip, with its joints."""
    save_annotations(root, f"{split}.csv", [someone.cells(video) for someone in people])
    return save_joints(root, video, people, offset)


def open_bold(root: Path, *, skip_broken: bool = False, **options: Any) -> Bold:
    dataset = open_dataset(
        DataOptions(name="bold", root=root, skip_broken=skip_broken, options=options), cache=root / ".cache"
    )
    assert isinstance(dataset, Bold)
    return dataset


def boxes(dataset: Bold, split: str = "train") -> list[list[tuple[float, ...] | None]]:
    """The boxes of each person as plain numbers."""
    return [
        [None if box is None else box.as_tuple() for box in sample.subject.boxes]
        for sample in dataset.samples(split)
    ]


def kinds(problems: Sequence[Problem]) -> list[tuple[str, str]]:
    """(kind, the last part of the file)."""
    return [(problem.kind, problem.file.rpartition("/")[2]) for problem in problems]
