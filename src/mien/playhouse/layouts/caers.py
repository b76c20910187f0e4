"""Playhouse in the layout of CAER-S: one folder per class, with file names that collide across classes.

Images are in `train/<Class>/0001.png` and `test/<Class>/...`. Face boxes are in `faces/`, in the form that
circulates: one text file per split, with lines of `path,label,x1,y1,x2,y2` and CAER-S's number of the label.
The official release has no validation split: images drawn for "val" go into the test folder, before those
drawn for "test".
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from PIL import Image, ImageDraw

from mien.labels import CAERS
from mien.playhouse.draw import person_boxes
from mien.playhouse.figure import Figure
from mien.playhouse.layouts.annotated_images import AnnotatedImage, sample_images
from mien.playhouse.rules import observe, score_basic_emotions, score_emotions
from mien.playhouse.scene import DrawnPerson
from mien.types import Box

__all__ = ["Frame", "sample_frames", "write", "write_caers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An image with its class.

    Attributes:
        label: The class.
        image: RGB.
        face: The box of the face, if it is known.
        name: The file name; empty for the next number of its class.
        folder: The folder; empty for the name of the class.
    """

    label: str
    image: Image.Image
    face: Box | None = None
    name: str = ""
    folder: str = ""


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Draws Playhouse in this layout; the same numbers and seed give the same files."""
    test_folder = chain(sample_frames("val", val, seed), sample_frames("test", test, seed))
    write_caers(root, {"train": sample_frames("train", train, seed), "test": test_folder})


def sample_frames(split: str, count: int, seed: int) -> Iterator[Frame]:
    """Draws scenes with one or more people; the class is that of the tallest annotated person."""
    return (_frame(annotated) for annotated in sample_images(split, count, seed, annotators=1))


def write_caers(root: Path, splits: Mapping[str, Iterable[Frame]]) -> None:
    """Writes the frames of "train" and "test". Every class gets a folder, even without frames."""
    (root / "faces").mkdir(parents=True, exist_ok=True)
    for split, frames in splits.items():
        for label in CAERS.labels:
            (root / split / label).mkdir(parents=True, exist_ok=True)
        with (root / "faces" / f"{split}.txt").open("w", encoding="utf-8", newline="\n") as faces:
            for path, frame in _with_paths(split, frames):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                frame.image.save(root / path)
                if frame.face is not None:
                    edges = ",".join(_format_edge(edge) for edge in frame.face.as_tuple())
                    faces.write(f"{path},{CAERS.index(frame.label)},{edges}\n")


def _with_paths(split: str, frames: Iterable[Frame]) -> Iterator[tuple[str, Frame]]:
    counts: Counter[str] = Counter()
    for frame in frames:
        counts[frame.label] += 1
        name = frame.name or f"{counts[frame.label]:04d}.png"
        yield f"{split}/{frame.folder or frame.label}/{name}", frame


def _frame(annotated: AnnotatedImage) -> Frame:
    """CAER-S has no person boxes, so the class is that of the most prominent person."""
    scene = annotated.scene
    assert scene is not None, "sampled images are drawn from a scene"
    boxes = person_boxes(scene, annotated.image.width)
    # Annotated boxes are rounded to whole pixels, so each is matched to the nearest exact box.
    indices = [
        min(range(len(boxes)), key=lambda index: _distance(boxes[index], person.box))
        for person in annotated.people
    ]
    tallest = max(indices, key=lambda index: scene.people[index].height)
    person = scene.people[tallest]
    scores = score_basic_emotions(score_emotions(observe(replace(scene, subject=tallest))))
    label = max(CAERS.labels, key=scores.__getitem__)
    return Frame(label=label, image=annotated.image, face=_face_box(person, annotated.image.width))


def _distance(box: Box, other: Box) -> float:
    return sum(abs(a - b) for a, b in zip(box.as_tuple(), other.as_tuple(), strict=True))


def _face_box(person: DrawnPerson, size: int) -> Box:
    """The box of the head, in whole pixels as detectors give them."""
    figure = Figure(ImageDraw.Draw(Image.new("RGB", (1, 1))), person, size)
    (x, y), radius = figure.head, figure.radius
    left, top, right, bottom = (round(edge) for edge in (x - radius, y - radius, x + radius, y + radius))
    return Box(left=left, top=top, right=right, bottom=bottom).clip(size, size)


def _format_edge(edge: float) -> str:
    return str(int(edge)) if float(edge).is_integer() else repr(edge)
