"""Reads subjects as pixels for encoders that are trained.

A trained encoder changes with every step, so features cannot be cached, and images may vary without limit:
each number is another variation, and 0 is the image as it is.
"""

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int, UInt8

from mien.digests import digest
from mien.errors import DataError
from mien.features.feature_views import feature_key, identify_images, variation_name
from mien.media.augment import Variation, draw_variation
from mien.media.images import ImageIdentity, Marking, Square
from mien.media.views import OpenedPhoto, check_box_orientation, load_frames, prepare_frames
from mien.recipe.features import AugmentKind
from mien.types import ImageRef, Subject

__all__ = ["ImageReader", "load_pixels"]

log = logging.getLogger(__name__)

_UNLIMITED: Final = 2**31 - 1

# The feature keys of a subject, one per marking, and the name that seeds its variations.
Keys = tuple[list[str], str]


def load_pixels(
    subject: Subject,
    markings: Sequence[Marking],
    square: Square,
    variation: Variation | None = None,
    *,
    photo: OpenedPhoto | None = None,
) -> UInt8[np.ndarray, "image height width channel"]:
    """A subject as an encoder reads it: view after view, and in each view frame after frame.

    Args:
        subject: Who.
        markings: How the subject is marked in each view.
        square: What the encoder takes, see `VisionEncoderSpec.square`.
        variation: How the images are varied, if at all.
        photo: Keeps the last photo, for the next subject in it.

    Raises:
        DataError: If an image cannot be read, or a box is outside of it.
    """
    photo = photo or OpenedPhoto()
    views = (
        prepare_frames(
            subject, marking=marking, variation=variation, fit_mode=square.mode, size=square.side, photo=photo
        )
        for marking in markings
    )
    return np.stack([np.asarray(frame) for frames in views for frame in frames])


class ImageReader:
    """The images of a list of subjects, in its order; takes the place of a `FeatureReader`.

    Every image is decoded once at the start, which takes as long as reading them for one epoch, without
    marking and fitting: a training of days must not end at a damaged image.

    Args:
        subjects: Who, in order.
        markings: How a subject is marked in each view.
        square: What the encoder takes.
        signature: The encoder's.
        num_tokens: Tokens that the encoder makes of one subject.
        dim: Width of these tokens.
        augment: How images vary.
        workers: Number of threads that decode, regardless of how many threads call `read`.

    Raises:
        DataError: If images cannot be read; it says how many.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        markings: Sequence[Marking],
        square: Square,
        *,
        signature: str,
        num_tokens: int,
        dim: int,
        augment: Sequence[AugmentKind] = (),
        workers: int = 0,
    ) -> None:
        self._subjects, self._markings, self._square = subjects, markings, square
        self._augment = augment
        # One pool for all calls, which may come from several threads. It starts threads when there is work.
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-images") if workers else None
        if self._pool is not None:
            weakref.finalize(self, self._pool.shutdown, wait=False)
        self.num_tokens, self.dim = num_tokens, dim
        self.num_views = len(markings)
        self.num_variants = _UNLIMITED if augment else 1
        keys, self._names = _check_images(subjects, markings, square, signature, self._pool)
        self.digest = digest(["pictures", list(augment), *keys])

    def __len__(self) -> int:
        return len(self._subjects)

    def read(
        self, indices: Int[np.ndarray, " batch"], variants: Int[np.ndarray, " batch"] | None = None
    ) -> UInt8[np.ndarray, "batch image height width channel"]:
        """The images of some subjects, by index; `variants`: which variation of each, 0 by default."""
        numbers = np.zeros(len(indices), dtype=np.int64) if variants is None else variants
        map_ = map if self._pool is None else self._pool.map
        return np.stack(list(map_(self._read_one, indices.tolist(), numbers.tolist())))

    def _read_one(self, index: int, number: int) -> UInt8[np.ndarray, "image height width channel"]:
        subject = self._subjects[index]
        variation = draw_variation(self._augment, name=self._names[index], number=number)
        try:
            return load_pixels(subject, self._markings, self._square, variation)
        except DataError as error:
            raise DataError(f"subject {subject.id!r}: {error}", hint=error.hint) from error


def _check_images(
    subjects: Sequence[Subject],
    markings: Sequence[Marking],
    square: Square,
    signature: str,
    pool: ThreadPoolExecutor | None,
) -> tuple[list[str], list[str]]:
    """All subjects' feature keys and variation names. Decodes images that subjects share once."""
    indices_by_images: dict[tuple[ImageRef, ...], list[int]] = {}
    for index, subject in enumerate(subjects):
        indices_by_images.setdefault(subject.images, []).append(index)
    log.info("checking that %d images or clips can be read", len(indices_by_images))
    groups = [[subjects[index] for index in indices] for indices in indices_by_images.values()]
    map_ = map if pool is None else pool.map
    results = map_(lambda group: _check_group(group, markings, square, signature), groups)
    by_index = {
        index: result
        for indices, group in zip(indices_by_images.values(), results, strict=True)
        for index, result in zip(indices, group, strict=True)
    }
    ordered = [by_index[index] for index in range(len(subjects))]
    failures = [
        f"{subject.id}: {result}"
        for subject, result in zip(subjects, ordered, strict=True)
        if isinstance(result, DataError)
    ]
    if failures:
        raise DataError(
            f"{len(failures)} of {len(subjects)} subjects have no readable image; {failures[0]}",
            hint="fix or leave out these images; mien data verify lists them all",
        )
    keys = [result for result in ordered if not isinstance(result, DataError)]
    return [key for keys_of_one, _ in keys for key in keys_of_one], [name for _, name in keys]


def _check_group(
    group: Sequence[Subject], markings: Sequence[Marking], square: Square, signature: str
) -> list[Keys | DataError]:
    """The keys of the people in one image, or in the same frames, or the error of each."""
    try:
        images = identify_images(group[0])
        key_of = partial(feature_key, signature=signature, square=square)
        sizes = [(loaded.full_size, loaded.is_turned) for loaded in load_frames(group[0])]
    except DataError as error:
        return [error] * len(group)
    return [_subject_keys(subject, images, sizes, key_of, markings) for subject in group]


def _subject_keys(
    subject: Subject,
    images: Mapping[Path, ImageIdentity],
    sizes: Sequence[tuple[tuple[int, int], bool]],
    key_of: Callable[..., str],
    markings: Sequence[Marking],
) -> Keys | DataError:
    try:
        for image, box, (size, is_turned) in zip(subject.images, subject.boxes, sizes, strict=True):
            if box is not None:
                check_box_orientation(subject, image, box, size, is_turned=is_turned)
                box.clip(*size)  # an error if no part of it is inside
    except DataError as error:
        return error
    keys = [key_of(subject, marking, images=images) for marking in markings]
    return keys, variation_name(subject, images)
