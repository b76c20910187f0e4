"""The views and variants of a subject that an encoder reads, and the keys of their features.

Keys follow from the content alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.digests import digest
from mien.media.augment import Variation, draw_variation
from mien.media.images import Marking, image_digest
from mien.recipe.features import AugmentKind
from mien.types import Subject

__all__ = ["FeatureView", "feature_key", "feature_views", "image_digests", "variation_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureView:
    """One way to show a subject to an encoder: how it is marked, and how its images are varied."""

    subject: Subject
    marking: Marking
    variation: Variation | None


def feature_views(
    subject: Subject,
    markings: Sequence[Marking],
    augment: Sequence[AugmentKind],
    num_variants: int,
    signature: str,
) -> list[tuple[str, FeatureView]]:
    """All views of a subject with their keys: variant after variant, and in each one view per marking.

    Equal variants share a key. Raises DataError if an image cannot be read.
    """
    digests = image_digests(subject)
    name = variation_name(subject, digests)
    views = []
    for number in range(num_variants):
        variation = draw_variation(augment, name=name, number=number)
        for marking in markings:
            key = feature_key(subject, marking, signature, variation=variation, digests=digests)
            views.append((key, FeatureView(subject=subject, marking=marking, variation=variation)))
    return views


def feature_key(
    subject: Subject,
    marking: Marking,
    signature: str,
    *,
    variation: Variation | None = None,
    digests: Mapping[Path, str] | None = None,
) -> str:
    """The key of a subject's features.

    It changes with the bytes of the images, the box if it is marked, the marking, the variation and the
    encoder. It does not change with file names or the subject's id.

    Args:
        subject: Who.
        marking: How the subject is marked.
        signature: The encoder's.
        variation: How the images are varied, if at all.
        digests: Digests of the images by path, if they are known.
    """
    # A variation never cuts into the box, so the box counts even if it is not marked.
    shows_box = marking.style != "none" or variation is not None
    boxes = subject.boxes if shows_box else (None,) * len(subject.boxes)
    known = image_digests(subject) if digests is None else digests
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


def variation_name(subject: Subject, digests: Mapping[Path, str]) -> str:
    """What seeds a subject's variations: two people in one image differ, all views of a person agree."""
    return feature_key(subject, Marking(), "variations", digests=digests)


def image_digests(subject: Subject) -> dict[Path, str]:
    """The digest of each of a subject's files; frames of one clip share it."""
    return {path: image_digest(path) for path in dict.fromkeys(image.path for image in subject.images)}
