"""Playhouse written as CAER-S is laid out: a folder a class, names that collide across classes, face boxes.

In: pictures with a class, or how many to draw. Out: `train/<Class>/0001.png`, `test/<Class>/...`, and a list
of face boxes a folder in `faces/`, in the form that circulates: `path,label,x1,y1,x2,y2`, the label as
CAER-S's number. Knows nothing about how such a copy is read.

The official copy has no val: what is drawn for val goes into the test folder, before what is drawn for test.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from PIL import Image, ImageDraw

from mien.labels import CAERS
from mien.playhouse.draw import person_boxes
from mien.playhouse.figure import Figure
from mien.playhouse.layouts.photographs import AnnotatedImage, stage
from mien.playhouse.rules import score_basic_emotions, score_emotions
from mien.playhouse.scene import Person
from mien.types import Box

__all__ = ["Frame", "compose", "write", "write_caers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture with its class, and the box of the face, where it is known.

    `name`: of the file; empty for the next number of its class. `folder`: empty for the class's own name.
    """

    label: str
    image: Image.Image
    face: Box | None = None
    name: str = ""
    folder: str = ""


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Draws so many scenes into `root`; the same numbers and seed give the same files."""
    kept = chain(compose("val", val, seed), compose("test", test, seed))
    write_caers(root, {"train": compose("train", train, seed), "test": kept})


def compose(split: str, count: int, seed: int) -> Iterator[Frame]:
    """Scenes of Playhouse, one or more people each; the class is what the tallest annotated one shows."""
    return (_frame(photograph) for photograph in stage(split, count, seed, annotators=1))


def write_caers(root: Path, splits: Mapping[str, Iterable[Frame]]) -> None:
    """Writes the frames of `train` and `test`. Every class gets a folder, also where it has no frame."""
    (root / "faces").mkdir(parents=True, exist_ok=True)
    for split, frames in splits.items():
        for label in CAERS.labels:
            (root / split / label).mkdir(parents=True, exist_ok=True)
        with (root / "faces" / f"{split}.txt").open("w", encoding="utf-8", newline="\n") as faces:
            for path, frame in _named(split, frames):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                frame.image.save(root / path)
                if frame.face is not None:
                    edges = ",".join(_number(edge) for edge in frame.face.as_tuple())
                    faces.write(f"{path},{CAERS.index(frame.label)},{edges}\n")


def _named(split: str, frames: Iterable[Frame]) -> Iterator[tuple[str, Frame]]:
    counts: Counter[str] = Counter()
    for frame in frames:
        counts[frame.label] += 1
        name = frame.name or f"{counts[frame.label]:04d}.png"
        yield f"{split}/{frame.folder or frame.label}/{name}", frame


def _frame(photograph: AnnotatedImage) -> Frame:
    """A scene has no box in CAER-S, so its class is that of the person whom one sees first."""
    scene = photograph.scene
    assert scene is not None, "staged photographs are drawn from a scene"
    boxes = person_boxes(scene, photograph.image.width)
    # An actor's box is rounded to whole pixels, so the person is the one whose box is nearest.
    people = [
        scene.people[min(range(len(boxes)), key=lambda index: _distance(boxes[index], actor.box))]
        for actor in photograph.people
    ]
    person = max(people, key=lambda person: person.height)
    scores = score_basic_emotions(score_emotions(scene.place, person))
    label = max(CAERS.labels, key=scores.__getitem__)
    return Frame(label=label, image=photograph.image, face=_face(person, photograph.image.width))


def _distance(box: Box, other: Box) -> float:
    return sum(abs(a - b) for a, b in zip(box.as_tuple(), other.as_tuple(), strict=True))


def _face(person: Person, size: int) -> Box:
    """Around the head, in whole pixels as detectors give them."""
    figure = Figure(ImageDraw.Draw(Image.new("RGB", (1, 1))), person, size)
    (x, y), radius = figure.head, figure.radius
    left, top, right, bottom = (round(edge) for edge in (x - radius, y - radius, x + radius, y + radius))
    return Box(left=left, top=top, right=right, bottom=bottom).clip(size, size)


def _number(edge: float) -> str:
    return str(int(edge)) if float(edge).is_integer() else repr(edge)
