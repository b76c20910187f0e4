"""The ways to look at a subject, and the name under which what is seen of each is kept.

Goes in: a subject, how it is marked, how pictures vary, the signature of an encoder. Comes out: looks with
their keys, which follow from the content alone.
Knows nothing about: encoders, files of features, which look is shown when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.digests import digest
from mien.media.augment import Variation, draw_variation
from mien.media.images import Marking, image_digest
from mien.recipe.features import AugmentKind
from mien.types import Subject

__all__ = ["Look", "feature_key", "looks_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One way to look at a subject."""

    subject: Subject
    marking: Marking
    variation: Variation | None


def looks_at(
    subject: Subject,
    markings: Sequence[Marking],
    augment: Sequence[AugmentKind],
    num_variants: int,
    signature: str,
) -> list[tuple[str, Look]]:
    """All looks at a subject with their keys, variant after variant and in each one view after view.

    Variants may be alike, and share a key. Raises DataError if a picture cannot be read.
    """
    digests = _picture_digests(subject)
    # Two people in one picture vary apart; one person varies alike in every view.
    name = feature_key(subject, Marking(), "variations", digests=digests)
    looks = []
    for number in range(num_variants):
        variation = draw_variation(augment, name=name, number=number)
        for marking in markings:
            key = feature_key(subject, marking, signature, variation=variation, digests=digests)
            looks.append((key, Look(subject=subject, marking=marking, variation=variation)))
    return looks


def feature_key(
    subject: Subject,
    marking: Marking,
    signature: str,
    *,
    variation: Variation | None = None,
    digests: Mapping[Path, str] | None = None,
) -> str:
    """The name of a subject's features: changes with the picture's bytes, the box if it is marked, the
    marking, the variation and the encoder; not with where the file lies or what the subject is called.

    `digests` of the pictures by path, where they are known.
    """
    # A varied picture keeps the box whole, so the box counts even where nothing is marked.
    shows_box = marking.style != "none" or variation is not None
    boxes = subject.boxes if shows_box else (None,) * len(subject.boxes)
    known = _picture_digests(subject) if digests is None else digests
    varied = {} if variation is None else {"variation": variation.to_json()}
    return digest(
        {
            "encoder": signature,
            "marking": marking.digest(),
            "images": [
                {
                    "image": known[image.path],
                    "frame": image.frame,
                    "box": None if box is None else [float(edge) for edge in box.as_tuple()],
                }
                for image, box in zip(subject.images, boxes, strict=True)
            ],
            **varied,
        }
    )


def _picture_digests(subject: Subject) -> dict[Path, str]:
    """Of each file once: the frames of one clip share it."""
    return {path: image_digest(path) for path in dict.fromkeys(image.path for image in subject.images)}
