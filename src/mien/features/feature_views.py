"""The views and variants of a subject that an encoder reads, and the keys of their features.

Keys follow from the content alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.digests import digest
from mien.media.augment import Variation, draw_variation
from mien.media.images import ImageIdentity, Marking, Square, identify_image
from mien.media.shrink import View
from mien.recipe.features import AugmentKind
from mien.types import Box, ImageRef, Subject

__all__ = ["FeatureView", "feature_key", "feature_views", "identify_images", "variation_name"]


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
    *,
    square: Square,
) -> list[tuple[str, FeatureView]]:
    """All views of a subject with their keys: variant after variant, and in each one view per marking.

    Equal variants share a key. Raises DataError if an image cannot be read.
    """
    images = identify_images(subject)
    name = variation_name(subject, images)
    views = []
    for number in range(num_variants):
        variation = draw_variation(augment, name=name, number=number)
        for marking in markings:
            key = feature_key(subject, marking, signature, square=square, variation=variation, images=images)
            views.append((key, FeatureView(subject=subject, marking=marking, variation=variation)))
    return views


def feature_key(
    subject: Subject,
    marking: Marking,
    signature: str,
    *,
    square: Square | None = None,
    variation: Variation | None = None,
    images: Mapping[Path, ImageIdentity] | None = None,
) -> str:
    """The key of a subject's features.

    It changes with the bytes of the images, the box if it is marked, the marking, the variation, the encoder,
    and the scale of an image that is decoded at a smaller size. It does not change with file names or the
    subject's id.

    Args:
        subject: Who.
        marking: How the subject is marked.
        signature: The encoder's.
        square: What the encoder takes; None for keys of something that is not made of pixels.
        variation: How the images are varied, if at all.
        images: Identities of the images by path, if they are known.
    """
    # A variation never cuts into the box, so the box counts even if it is not marked.
    shows_box = marking.style != "none" or variation is not None
    boxes = subject.boxes if shows_box else (None,) * len(subject.boxes)
    known = identify_images(subject) if images is None else images
    view = View(marking=marking, square=square, is_varied=variation is not None)

    def entry(image: ImageRef, shown: Box | None, box: Box | None) -> dict[str, object]:
        scale = view.scale_of(known[image.path], box)
        return {
            "image": known[image.path].digest,
            "frame": image.frame,
            "box": None if shown is None else [float(edge) for edge in shown.as_tuple()],
            # Absent at scale 1, so that photos of usual size keep the keys of 0.1.0.
            **({} if scale == 1 else {"draft": scale}),
        }

    varied = {} if variation is None else {"variation": variation.to_json()}
    return digest(
        {
            "encoder": signature,
            "marking": marking.digest(),
            "images": [entry(*parts) for parts in zip(subject.images, boxes, subject.boxes, strict=True)],
            **varied,
        }
    )


def variation_name(subject: Subject, images: Mapping[Path, ImageIdentity]) -> str:
    """What seeds a subject's variations: two people in one image differ, all views of a person agree."""
    return feature_key(subject, Marking(), "variations", images=images)


def identify_images(subject: Subject) -> dict[Path, ImageIdentity]:
    """The identity of each of a subject's files; frames of one clip share it."""
    return {path: identify_image(path) for path in dict.fromkeys(image.path for image in subject.images)}
