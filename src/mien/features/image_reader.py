"""Pictures of subjects as an encoder takes them, opened each time anew: for encoders that learn.

Goes in: subjects, how they are marked, an encoder's way to fit pictures. Comes out: squares of pixels.
Knows nothing about: labels, texts, what the encoder makes of them.

An encoder that changes with every step leaves no features to keep, so pictures may vary without end: each
number is another variation, of which 0 is the picture as it is.
"""

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from mien.digests import digest
from mien.errors import DataError
from mien.features.feature_views import feature_key
from mien.media.augment import Variation, draw_variation
from mien.media.images import Marking, image_digest
from mien.media.views import load_frames, prepare_frames
from mien.recipe.features import AugmentKind
from mien.types import ImageRef, Subject

__all__ = ["PictureReader", "squares_of"]

log = logging.getLogger(__name__)

_ENDLESS: Final = 2**31 - 1

Fit = Callable[[Image.Image], Image.Image]
# What the encoder sees of a subject by content, for each marking; the name under which it varies.
Seen = tuple[list[str], str]


def squares_of(
    subject: Subject, markings: Sequence[Marking], fit: Fit, variation: Variation | None = None
) -> UInt8[np.ndarray, "picture row column channel"]:
    """What an encoder sees of a subject: the frames of one view after another."""
    views = (prepare_frames(subject, marking=marking, variation=variation) for marking in markings)
    return np.stack([np.asarray(fit(frame)) for frames in views for frame in frames])


class PictureReader:
    """The pictures of a list of subjects, in its order; in the place of a `FeatureReader`.

    `num_tokens` and `dim` are those that the encoder makes of one subject. Every picture is decoded once at
    the start, which takes as long as an epoch's reading without marking and fitting: a training of days
    should not end at a damaged one. Raises DataError, which counts them, if there are such. At most
    `workers` threads decode at a time, however many ask.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        markings: Sequence[Marking],
        fit: Fit,
        *,
        signature: str,
        num_tokens: int,
        dim: int,
        augment: Sequence[AugmentKind] = (),
        workers: int = 0,
    ) -> None:
        self._subjects, self._markings, self._fit = subjects, markings, fit
        self._augment = augment
        # One for all calls, which may themselves come from threads. It makes a thread when there is work.
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-pictures") if workers else None
        if self._pool is not None:
            weakref.finalize(self, self._pool.shutdown, wait=False)
        self.num_tokens, self.dim = num_tokens, dim
        self.num_views = len(markings)
        self.num_variants = _ENDLESS if augment else 1
        keys, self._names = _keys_of(subjects, markings, signature, self._pool)
        self.digest = digest(["pictures", list(augment), *keys])

    def __len__(self) -> int:
        return len(self._subjects)

    def read(
        self, indices: Int[np.ndarray, " batch"], variants: Int[np.ndarray, " batch"] | None = None
    ) -> UInt8[np.ndarray, "batch picture row column channel"]:
        """The pictures of the subjects at these places of the list, by default as they are."""
        numbers = np.zeros(len(indices), dtype=np.int64) if variants is None else variants
        each = map if self._pool is None else self._pool.map
        return np.stack(list(each(self._one, indices.tolist(), numbers.tolist())))

    def _one(self, index: int, number: int) -> UInt8[np.ndarray, "picture row column channel"]:
        subject = self._subjects[index]
        variation = draw_variation(self._augment, name=self._names[index], number=number)
        try:
            return squares_of(subject, self._markings, self._fit, variation)
        except DataError as error:
            raise DataError(f"subject {subject.id!r}: {error}", hint=error.hint) from error


def _keys_of(
    subjects: Sequence[Subject],
    markings: Sequence[Marking],
    signature: str,
    pool: ThreadPoolExecutor | None,
) -> tuple[list[str], list[str]]:
    """The keys of all subjects, and their names. What several of them share is read and decoded once."""
    places: dict[tuple[ImageRef, ...], list[int]] = {}
    for place, subject in enumerate(subjects):
        places.setdefault(subject.images, []).append(place)
    log.info("opening %d pictures or clips, to see whether they can be read", len(places))
    groups = [[subjects[place] for place in together] for together in places.values()]
    each = map if pool is None else pool.map
    answers = each(lambda group: _opened(group, markings, signature), groups)
    by_place = {
        place: answer
        for together, found in zip(places.values(), answers, strict=True)
        for place, answer in zip(together, found, strict=True)
    }
    ordered = [by_place[place] for place in range(len(subjects))]
    failures = [
        f"{subject.id}: {answer}"
        for subject, answer in zip(subjects, ordered, strict=True)
        if isinstance(answer, DataError)
    ]
    if failures:
        raise DataError(
            f"{len(failures)} of {len(subjects)} subjects have no picture that can be shown; {failures[0]}",
            hint="mend or leave out these pictures; mien data verify lists them all",
        )
    seen = [answer for answer in ordered if not isinstance(answer, DataError)]
    return [key for keys, _ in seen for key in keys], [name for _, name in seen]


def _opened(
    together: Sequence[Subject], markings: Sequence[Marking], signature: str
) -> list[Seen | DataError]:
    """What is seen of each of the people in one picture, or in the same frames, or why nothing is."""
    try:
        digests = {
            path: image_digest(path) for path in dict.fromkeys(image.path for image in together[0].images)
        }
        sizes = [frame.size for frame in load_frames(together[0])]
    except DataError as error:
        return [error] * len(together)
    return [_seen(subject, markings, signature, digests, sizes) for subject in together]


def _seen(
    subject: Subject,
    markings: Sequence[Marking],
    signature: str,
    digests: Mapping[Path, str],
    sizes: Sequence[tuple[int, int]],
) -> Seen | DataError:
    try:
        for box, size in zip(subject.boxes, sizes, strict=True):
            if box is not None:
                box.clip(*size)  # an error if nothing of it is inside
    except DataError as error:
        return error
    keys = [feature_key(subject, marking, signature, digests=digests) for marking in markings]
    # As with features that are kept: two people in one picture vary apart.
    return keys, feature_key(subject, Marking(), "variations", digests=digests)
