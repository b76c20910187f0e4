"""Playhouse in the layout of BoLD: H.264 clips, joints, and annotations without a header.

The traps of the release are kept: BoLD's order of labels, absolute frame numbers in the joints, joints with
low confidence at arbitrary positions, frames in which a person is not detected, and a test split without
labels.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.labels import BOLD
from mien.playhouse.draw import SIZE, draw_scene, person_boxes
from mien.playhouse.figure import Figure
from mien.playhouse.layouts.annotated_images import (
    AnnotatedImage,
    AnnotatedPerson,
    sample_images,
    save_array,
)
from mien.playhouse.scene import Scene

__all__ = [
    "JOINTS",
    "MIN_CONFIDENCE",
    "Clip",
    "TrackedPerson",
    "figure_joints",
    "sample_clips",
    "write",
    "write_bold",
]

# OpenPose's 18 joints, in its order. Right and left are the person's own.
JOINTS: Final = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist"),
    *("left shoulder", "left elbow", "left wrist", "right hip", "right knee", "right ankle"),
    *("left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"),
)
MIN_CONFIDENCE: Final = 0.1  # joints with a lower confidence are at arbitrary positions
_UNSURE: Final = 0.08  # share of such joints

_FILES: Final = {"train": "train.csv", "val": "val.csv", "test": "test_meta.csv"}
_RATE: Final = 25  # frames per second
_ANNOTATORS: Final = 5
_CLIPS_PER_FILM: Final = 3
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# People sway: so many drawings per period, so far (as a fraction of the image's side), so many frames each.
_DRAWINGS_PER_SWAY: Final = 8
_SWAY: Final = 0.012
_FRAMES_PER_DRAWING: Final = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedPerson:
    """A person in a clip.

    Attributes:
        person_id: The number in the clip.
        joints: (x, y, confidence) in pixels, shape (frame, 18, 3); NaN where the person is not detected.
        min_frame: First annotated frame.
        max_frame: Last annotated frame.
        scores: Score of each label, 0 to 1; None for people who are not annotated.
        dimensions: Valence, arousal and dominance, from 1 to 10.
        gender: As annotated.
        age: As annotated.
        ethnicity: As annotated.
        confidence: Of the annotation, 0 to 1.
    """

    person_id: int
    joints: Floats
    min_frame: int = 0
    max_frame: int = 0
    scores: Mapping[str, float] | None = None
    dimensions: tuple[float, float, float] | None = None
    gender: str = ""
    age: str = ""
    ethnicity: str = ""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A clip.

    Attributes:
        video: Its path, such as `003/<film>.mp4/0001.mp4`.
        frames: RGB.
        first_frame: Number of the first frame in the film.
        people: In order of `person_id`.
    """

    video: str
    frames: Sequence[Image.Image]
    first_frame: int
    people: tuple[TrackedPerson, ...]


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Draws these numbers of clips into `root/BOLD_public`; the same seed gives the same clips."""
    counts = {"train": train, "val": val, "test": test}
    clips = {split: sample_clips(split, count, seed) for split, count in counts.items()}
    write_bold(root / "BOLD_public", clips)


def write_bold(root: Path, splits: Mapping[str, Iterable[Clip]]) -> None:
    """Writes the clips of "train", "val" and "test" to `videos`, `joints` and `annotations`."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, clips in splits.items():
        with (root / "annotations" / _FILES[split]).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            for clip in clips:
                _encode(root / "videos" / clip.video, clip.frames)
                _save_joints((root / "joints" / clip.video).with_suffix(".npy"), clip)
                annotated = (person for person in clip.people if person.scores is not None)
                rows.writerows(_row(clip.video, person, labeled=split != "test") for person in annotated)


def sample_clips(split: str, count: int, seed: int, *, num_frames: int = 101) -> Iterator[Clip]:
    """Draws scenes in which people sway a little, as clips of `num_frames` frames."""
    for index, annotated in enumerate(sample_images(split, count, seed, _ANNOTATORS)):
        film = "".join(
            random.Random(f"film {seed} {split} {index // _CLIPS_PER_FILM}").choices(_LETTERS, k=11)
        )
        rng = random.Random(f"clip {seed} {split} {index}")
        yield _clip(f"003/{film}.mp4/{index % _CLIPS_PER_FILM:04d}.mp4", annotated, num_frames, rng)


def figure_joints(figure: Figure) -> Floats:
    """The joints of a drawn figure in pixels, shape (18, 2)."""
    joints = {"nose": figure.head, "neck": _body_point(figure, 0.0, 0.62)}
    for side, sign in (("right", -1), ("left", 1)):  # people face the viewer
        arm = next(path for path in figure.arm_joints() if (path[0][0] - figure.x) * sign > 0)
        joints |= {
            f"{side} {name}": point for name, point in zip(("shoulder", "elbow", "wrist"), arm, strict=True)
        }
        for name, up in (("hip", 0.30), ("knee", 0.16), ("ankle", 0.03)):
            joints[f"{side} {name}"] = _body_point(figure, sign * 0.06, up)
        x, y = figure.head
        joints[f"{side} eye"] = (x + sign * 0.40 * figure.radius, y - 0.10 * figure.radius)
        joints[f"{side} ear"] = (x + sign * 0.98 * figure.radius, y)
    return np.array([joints[name] for name in JOINTS])


def _body_point(figure: Figure, right: float, up: float) -> tuple[float, float]:
    return figure.x + right * figure.unit, figure.floor - up * figure.unit


# --- Drawing -----------------------------------------------------------------------------------------


def _clip(video: str, annotated: AnnotatedImage, num_frames: int, rng: random.Random) -> Clip:
    assert annotated.scene is not None, "sampled images are drawn from a scene"
    scenes = [_sway(annotated.scene, step) for step in range(_DRAWINGS_PER_SWAY)]
    images = [draw_scene(scene).image for scene in scenes]
    steps = [frame // _FRAMES_PER_DRAWING % _DRAWINGS_PER_SWAY for frame in range(num_frames)]
    points = np.array([_scene_joints(scene) for scene in scenes])
    annotated_people = {person.box.as_tuple(): person for person in annotated.people}
    people = []
    for index, box in enumerate(person_boxes(annotated.scene)):
        edges = (math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom))
        joints = _detect(points[steps, index], rng, always=index == 0)
        people.append(_tracked_person(index, joints, annotated_people.get(edges), rng))
    return Clip(
        video=video,
        frames=[images[step] for step in steps],
        first_frame=rng.randrange(1000, 90_000),
        people=tuple(people),
    )


def _sway(scene: Scene, step: int) -> Scene:
    """The scene with every person moved a little to the side and up; unchanged in step 0."""
    people = []
    for index, person in enumerate(scene.people):
        angle = 2 * math.pi * step / _DRAWINGS_PER_SWAY
        side = _SWAY * math.sin(angle) * (-1) ** index
        people.append(
            replace(person, center=person.center + side, lift=person.lift + _SWAY * (1 - math.cos(angle)) / 2)
        )
    return replace(scene, people=tuple(people))


def _scene_joints(scene: Scene) -> list[Floats]:
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return [figure_joints(Figure(blank, person, SIZE)) for person in scene.people]


def _detect(points: Floats, rng: random.Random, *, always: bool) -> Floats:
    """A person's joints as a detector reports them, in each frame; NaN where it misses the person.

    `always`: never misses. One person must be detected in the first frame, or its number is lost.
    """
    joints = np.array([_detect_joints(frame, SIZE, rng) for frame in points])
    length = len(points) // 6
    if not always and length and rng.random() < 0.6:
        start = rng.randrange(len(points) - length)
        joints[start : start + rng.randint(1, length)] = np.nan
    return joints


def _detect_joints(points: Floats, size: int, rng: random.Random) -> Floats:
    """The joints as OpenPose reports them, rows of (x, y, confidence).

    Joints outside of the image are not found, which is written as zeros. Unsure ones are at arbitrary
    positions.
    """
    rows = []
    for x, y in points:
        if not (0 <= x <= size and 0 <= y <= size):
            rows.append((0.0, 0.0, 0.0))
        elif rng.random() < _UNSURE:
            anywhere = (rng.uniform(0, size), rng.uniform(0, size))
            rows.append((*anywhere, rng.uniform(0, 0.9 * MIN_CONFIDENCE)))
        else:
            rows.append((x, y, rng.uniform(2 * MIN_CONFIDENCE, 1.0)))
    return np.array(rows)


def _tracked_person(
    index: int, joints: Floats, annotated: AnnotatedPerson | None, rng: random.Random
) -> TrackedPerson:
    if annotated is None:
        return TrackedPerson(person_id=index, joints=joints)
    num_frames, annotations = len(joints), annotated.annotations
    given = [annotation.dimensions for annotation in annotations if annotation.dimensions is not None]
    valence, arousal, dominance = (fmean(values) for values in zip(*given, strict=True))
    return TrackedPerson(
        person_id=index,
        joints=joints,
        min_frame=rng.randrange(max(1, num_frames // 5)),
        max_frame=num_frames - 1 - rng.randrange(max(1, num_frames // 5)),
        scores={
            label: sum(label in annotation.labels for annotation in annotations) / len(annotations)
            for label in BOLD.labels
        },
        dimensions=(valence, arousal, dominance),
        gender=annotated.gender,
        age=annotated.age,
        ethnicity=annotated.ethnicity,
        confidence=round(rng.uniform(0.3, 1.0), 3),
    )


# --- Writing -----------------------------------------------------------------------------------------


def _row(video: str, person: TrackedPerson, *, labeled: bool) -> list[object]:
    row = [video, person.person_id, person.min_frame, person.max_frame]
    if not labeled:
        return list(row)
    dimensions = person.dimensions or ("", "", "")
    attributes = (person.gender, person.age, person.ethnicity, person.confidence)
    return [*row, *BOLD.encode(person.scores or {}), *dimensions, *attributes]


def _save_joints(path: Path, clip: Clip) -> None:
    """One row per frame and detected person."""
    rows = [
        [clip.first_frame + frame, person.person_id, *person.joints[frame].ravel()]
        for frame in range(len(clip.frames))
        for person in clip.people
        if not np.isnan(person.joints[frame]).all()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_array(path, np.array(rows, dtype=np.float64).reshape(len(rows), -1))


def _encode(path: Path, frames: Sequence[Image.Image]) -> None:
    """Writes H.264 in MP4. Images that repeat are converted once."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    video_frame: Any = av.VideoFrame  # PyAV's annotations omit its constructors
    converted: dict[int, Any] = {}
    # As a URL, because a name with a colon would be taken for one. One thread gives the same bytes every
    # time.
    with av.open(f"file:{path}", "w", format="mp4") as file:
        stream: Any = file.add_stream("libx264", rate=_RATE, options={"preset": "veryfast", "threads": "1"})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if id(image) not in converted:
                converted[id(image)] = video_frame.from_image(image).reformat(format="yuv420p")
            converted[id(image)].pts = number
            file.mux(stream.encode(converted[id(image)]))
        file.mux(stream.encode())
