"""One person in an image, and who and what is around, as the models of the engine `cues` see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from mien.describe.cues.detectors import FaceFinder, Found, ObjectFinder
from mien.describe.cues.expression import Expression, ExpressionReader
from mien.describe.cues.geometry import Edges, Relation, area, relate, shared_area
from mien.describe.cues.posture import PoseReader, Posture
from mien.detection.overlap import intersection_over_union

__all__ = ["Face", "Models", "Neighbor", "Portrait", "Scene", "Sights", "look", "observe"]

_SAME_PERSON: Final = 0.3  # intersection over union of the box and a detected person
_MIN_FACE: Final = 24  # pixels of width; the expressions of smaller faces are noise
_HEAD: Final = 0.6  # of a person's box from the top, where the middle of the face is
_IN_BOX: Final = 0.5  # of a face, at least, is in the box of its person
_ENLARGED: Final = 320  # pixels of the longer side, to which a person is enlarged to find a small face
_MIN_CROP: Final = 8  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The parts of the engine; those that the recipe does not name are None."""

    objects: ObjectFinder
    faces: FaceFinder | None = None
    expression: ExpressionReader | None = None
    pose: PoseReader | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """What is in an image, for every subject in it. `faces` is None without a model for them."""

    people: tuple[Found, ...]
    things: tuple[Found, ...]
    faces: tuple[Found, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face.

    Attributes:
        score: From 0 to 1.
        is_small: Whether it is too small for its expression.
        expression: None without a model, or of a small face.
    """

    score: float
    is_small: bool
    expression: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """The subject.

    Attributes:
        box: Where, in pixels.
        is_boxed: Whether the box was given; otherwise it is that of the largest person.
        score: Of the detected person; None if none was found at the box.
        face: None if none was found.
        posture: None if it cannot be made out.
    """

    box: Edges
    is_boxed: bool
    score: float | None
    face: Face | None
    posture: Posture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """Someone or something else, and where it is from the subject. `face` is that of a person."""

    found: Found
    relation: Relation
    face: Face | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a text says.

    Attributes:
        size: (width, height) of the image.
        subject: None if no box was given and no person was found.
        people: The others, the nearest first.
        things: The nearest first; where they are only in a scene with a subject.
        reads_faces: Whether there is a model for faces.
        reads_postures: Whether there is a model for postures.
    """

    size: tuple[int, int]
    subject: Portrait | None
    people: tuple[Neighbor, ...]
    things: tuple[Neighbor, ...]
    reads_faces: bool
    reads_postures: bool


def look(models: Models, image: Image.Image) -> Sights:
    """What is in an RGB image; EngineError if a model fails on it."""
    found = models.objects.find(image)
    return Sights(
        people=tuple(one for one in found if one.is_person),
        things=tuple(one for one in found if not one.is_person),
        faces=None if models.faces is None else models.faces.find(image),
    )


def observe(models: Models, image: Image.Image, sights: Sights, box: Edges | None) -> Scene:
    """The scene around the person in a box of an RGB image, or without one around the largest person.

    Raises:
        EngineError: A model fails on the image.
    """
    found = _largest(sights.people) if box is None else _at_box(sights.people, box)
    place = box or (found.box if found is not None else None)
    others = [one for one in sights.people if one is not found]
    owners = _assign_faces(
        sights.faces or (), [*([] if place is None else [place]), *(one.box for one in others)]
    )
    subject = None
    if place is not None:
        subject = Portrait(
            box=place,
            is_boxed=box is not None,
            score=None if found is None else found.score,
            face=_face_of(models, image, place, owners.pop(0)),
            posture=None if models.pose is None or found is None else models.pose.read(image, place),
        )
    center = place or (0.0, 0.0, float(image.width), float(image.height))
    people = [
        Neighbor(found=one, relation=relate(center, one.box), face=_read_face(models, image, face))
        for one, face in zip(others, owners, strict=True)
    ]
    things = [Neighbor(found=one, relation=relate(center, one.box)) for one in sights.things]
    return Scene(
        size=image.size,
        subject=subject,
        people=_nearest_first(people),
        things=_nearest_first(things),
        reads_faces=models.faces is not None,
        reads_postures=models.pose is not None,
    )


def _largest(people: Sequence[Found]) -> Found | None:
    return max(people, key=lambda one: (area(one.box) * one.score, one.box), default=None)


def _at_box(people: Sequence[Found], box: Edges) -> Found | None:
    """The person whose box is most like the given one, if it is like it at all."""

    edges = np.array([one.box for one in people], dtype=float).reshape(-1, 4)
    overlaps = intersection_over_union(np.array([box], dtype=float), edges)[0].tolist()
    found = zip(overlaps, people, strict=True)
    overlap, best = max(found, key=lambda pair: (pair[0], pair[1].score, pair[1].box), default=(0.0, None))
    return best if overlap >= _SAME_PERSON else None


def _nearest_first(neighbors: list[Neighbor]) -> tuple[Neighbor, ...]:
    return tuple(sorted(neighbors, key=lambda one: (one.relation.gap, -one.found.score, one.found.box)))


# --- Faces ---------------------------------------------------------------------------------------------


def _assign_faces(faces: Sequence[Found], people: Sequence[Edges]) -> list[Found | None]:
    """The face of each person: each face belongs to the smallest person in whose upper part it is."""
    owned: list[Found | None] = [None] * len(people)
    by_area = sorted(range(len(people)), key=lambda index: (area(people[index]), index))
    for face in faces:  # the surest first
        owner = next((i for i in by_area if owned[i] is None and _fits(face.box, people[i])), None)
        if owner is not None:
            owned[owner] = face
    return owned


def _fits(face: Edges, person: Edges) -> bool:
    across, down = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    is_inside = person[0] <= across <= person[2] and person[1] <= down <= person[1] + _HEAD * (
        person[3] - person[1]
    )
    return is_inside and shared_area(face, person) >= _IN_BOX * area(face)


def _face_of(models: Models, image: Image.Image, person: Edges, face: Found | None) -> Face | None:
    """The subject's face; a small one may be found only if the person is enlarged."""
    if face is None and models.faces is not None:
        face = _find_enlarged(models.faces, image, person)
    return _read_face(models, image, face)


def _find_enlarged(faces: FaceFinder, image: Image.Image, person: Edges) -> Found | None:
    left, top = max(0, int(person[0])), max(0, int(person[1]))
    right, bottom = min(image.width, int(person[2]) + 1), min(image.height, int(person[3]) + 1)
    side = max(right - left, bottom - top)
    if min(right - left, bottom - top) < _MIN_CROP or side >= _ENLARGED:
        return None
    scale = _ENLARGED / side
    size = tuple(max(1, round(length * scale)) for length in (right - left, bottom - top))
    crop = image.resize((size[0], size[1]), Image.Resampling.BICUBIC, (left, top, right, bottom))
    for found in faces.find(crop):
        x0, y0, x1, y1 = (edge / scale for edge in found.box)
        box = (left + x0, top + y0, left + x1, top + y1)
        if _fits(box, person):
            return Found(name=found.name, box=box, score=found.score)
    return None


def _read_face(models: Models, image: Image.Image, face: Found | None) -> Face | None:
    if face is None:
        return None
    is_small = face.box[2] - face.box[0] < _MIN_FACE
    reader = None if is_small else models.expression
    expression = None if reader is None else reader.read(image, face.box)
    return Face(score=face.score, is_small=is_small, expression=expression)
