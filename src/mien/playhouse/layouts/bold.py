"""Playhouse written as BoLD is laid out: H.264 clips, joints, and annotations without a header.

In: clips, or how many to draw. Out: `BOLD_public/{videos,joints,annotations}`. Knows nothing about how such a
copy is read.

The release's traps are kept: BoLD's order of labels, absolute frame numbers in the joints, joints of low
confidence that stand anywhere, frames in which a person is not seen, and a test split without labels.
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
from mien.playhouse.layouts.bold_skeletons import blur, skeleton
from mien.playhouse.layouts.photographs import AnnotatedImage, AnnotatedPerson, stage
from mien.playhouse.scene import Scene

__all__ = ["Clip", "TrackedPerson", "compose", "write", "write_bold"]

_FILES: Final = {"train": "train.csv", "val": "val.csv", "test": "test_meta.csv"}
_RATE: Final = 25  # frames a second
_ANNOTATORS: Final = 5
_CLIPS_A_FILM: Final = 3
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STEPS: Final = 8  # drawings a sway
_SWAY: Final = 0.012  # of the stage's width and height
_FRAMES_A_STEP: Final = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedPerson:
    """Somebody in a clip. `joints`: (frames, 18, 3); NaN in frames where nobody was detected.

    `scores` by label are None for people who are not annotated; `dimensions` are of 1 to 10.
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
    """A clip named such as `003/<film>.mp4/0001.mp4`. `first_frame`: where in the film it begins."""

    video: str
    frames: Sequence[Image.Image]
    first_frame: int
    people: tuple[TrackedPerson, ...]


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Draws so many clips into `root/BOLD_public`; the same numbers and seed give the same people."""
    counts = {"train": train, "val": val, "test": test}
    write_bold(root / "BOLD_public", {split: compose(split, count, seed) for split, count in counts.items()})


def write_bold(root: Path, splits: Mapping[str, Iterable[Clip]]) -> None:
    """Writes the clips of `train`, `val` and `test`; that of test is a list without labels."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, clips in splits.items():
        with (root / "annotations" / _FILES[split]).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            for clip in clips:
                _encode(root / "videos" / clip.video, clip.frames)
                _save_joints((root / "joints" / clip.video).with_suffix(".npy"), clip)
                annotated = (player for player in clip.people if player.scores is not None)
                rows.writerows(_row(clip.video, player, labelled=split != "test") for player in annotated)


def compose(split: str, count: int, seed: int, *, num_frames: int = 101) -> Iterator[Clip]:
    """Scenes of Playhouse in which everybody sways a little; `num_frames` of them a clip."""
    for index, photograph in enumerate(stage(split, count, seed, _ANNOTATORS)):
        film = "".join(random.Random(f"film {seed} {split} {index // _CLIPS_A_FILM}").choices(_LETTERS, k=11))
        rng = random.Random(f"clip {seed} {split} {index}")
        yield _clip(f"003/{film}.mp4/{index % _CLIPS_A_FILM:04d}.mp4", photograph, num_frames, rng)


# --- Drawing -----------------------------------------------------------------------------------------


def _clip(video: str, photograph: AnnotatedImage, num_frames: int, rng: random.Random) -> Clip:
    assert photograph.scene is not None, "staged photographs are drawn from a scene"
    stagings = [_swayed(photograph.scene, step) for step in range(_STEPS)]
    images = [draw_scene(scene).image for scene in stagings]
    steps = [frame // _FRAMES_A_STEP % _STEPS for frame in range(num_frames)]
    points = np.array([_skeletons(scene) for scene in stagings])
    actors = {actor.box.as_tuple(): actor for actor in photograph.people}
    players = []
    for person, box in enumerate(person_boxes(photograph.scene)):
        edges = (math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom))
        joints = _detect(points[steps, person], rng, always=person == 0)
        players.append(_player(person, joints, actors.get(edges), rng))
    return Clip(
        video=video,
        frames=[images[step] for step in steps],
        first_frame=rng.randrange(1000, 90_000),
        people=tuple(players),
    )


def _swayed(scene: Scene, step: int) -> Scene:
    """Everybody a little to the side and up, each in their own time; in step 0 nobody is."""
    people = []
    for index, person in enumerate(scene.people):
        angle = 2 * math.pi * step / _STEPS
        side = _SWAY * math.sin(angle) * (-1) ** index
        people.append(
            replace(person, centre=person.centre + side, lift=person.lift + _SWAY * (1 - math.cos(angle)) / 2)
        )
    return replace(scene, people=tuple(people))


def _skeletons(scene: Scene) -> list[Floats]:
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return [skeleton(Figure(blank, person, SIZE)) for person in scene.people]


def _detect(points: Floats, rng: random.Random, *, always: bool) -> Floats:
    """What a detector makes of the points of one person in each frame; NaN where it misses the person.

    `always`: it does not miss. Somebody must be seen in the first frame, or its number is lost.
    """
    joints = np.array([blur(frame, SIZE, rng) for frame in points])
    length = len(points) // 6
    if not always and length and rng.random() < 0.6:
        start = rng.randrange(len(points) - length)
        joints[start : start + rng.randint(1, length)] = np.nan
    return joints


def _player(person: int, joints: Floats, actor: AnnotatedPerson | None, rng: random.Random) -> TrackedPerson:
    if actor is None:
        return TrackedPerson(person_id=person, joints=joints)
    num_frames, opinions = len(joints), actor.opinions
    felt = [opinion.dimensions for opinion in opinions if opinion.dimensions is not None]
    valence, arousal, dominance = (fmean(steps) for steps in zip(*felt, strict=True))
    return TrackedPerson(
        person_id=person,
        joints=joints,
        min_frame=rng.randrange(max(1, num_frames // 5)),
        max_frame=num_frames - 1 - rng.randrange(max(1, num_frames // 5)),
        scores={
            label: sum(label in opinion.labels for opinion in opinions) / len(opinions)
            for label in BOLD.labels
        },
        dimensions=(valence, arousal, dominance),
        gender=actor.gender,
        age=actor.age,
        ethnicity=actor.ethnicity,
        confidence=round(rng.uniform(0.3, 1.0), 3),
    )


# --- Writing -----------------------------------------------------------------------------------------


def _row(video: str, player: TrackedPerson, *, labelled: bool) -> list[object]:
    who = [video, player.person_id, player.min_frame, player.max_frame]
    if not labelled:
        return list(who)
    dimensions = player.dimensions or ("", "", "")
    about = (player.gender, player.age, player.ethnicity, player.confidence)
    return [*who, *BOLD.encode(player.scores or {}), *dimensions, *about]


def _save_joints(path: Path, clip: Clip) -> None:
    """Rows by frame, and in a frame by person; whoever is not seen has none."""
    rows = [
        [clip.first_frame + frame, player.person_id, *player.joints[frame].ravel()]
        for frame in range(len(clip.frames))
        for player in clip.people
        if not np.isnan(player.joints[frame]).all()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, dtype=np.float64).reshape(len(rows), -1))


def _encode(path: Path, frames: Sequence[Image.Image]) -> None:
    """H.264 in MP4. Pictures that recur are converted once."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    video_frame: Any = av.VideoFrame  # PyAV's annotations leave its makers out
    converted: dict[int, Any] = {}
    # As a URL, for a name with a colon would else be more than a name. One thread: always the same bytes.
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
