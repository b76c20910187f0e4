"""Pictures of subjects as an encoder takes them, opened each time anew: for encoders that learn.

Goes in: subjects, how they are marked, an encoder's way to fit pictures. Comes out: squares of pixels.
Knows nothing about: labels, texts, what the encoder makes of them.

An encoder that changes with every step leaves no features to keep, so pictures may vary without end: each
number is another variation, of which 0 is the picture as it is.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from mien.augment import Variation, draw_variation
from mien.digests import digest
from mien.errors import DataError
from mien.features.looks import feature_key, looks_at
from mien.images import Marking
from mien.types import AugmentKind, Subject
from mien.views import prepare_frames

__all__ = ["PictureReader", "squares_of"]

_ENDLESS: Final = 2**31 - 1

Fit = Callable[[Image.Image], Image.Image]


def squares_of(
    subject: Subject, markings: Sequence[Marking], fit: Fit, variation: Variation | None = None
) -> UInt8[np.ndarray, "picture row column channel"]:
    """What an encoder sees of a subject: the frames of one view after another."""
    views = (prepare_frames(subject, marking=marking, variation=variation) for marking in markings)
    return np.stack([np.asarray(fit(frame)) for frames in views for frame in frames])


class PictureReader:
    """The pictures of a list of subjects, in its order; in the place of a `FeatureReader`.

    `num_tokens` and `dim` are those that the encoder makes of one subject. Raises DataError, which counts
    them, if pictures are not there.
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
        self._augment, self._workers = augment, workers
        self.num_tokens, self.dim = num_tokens, dim
        self.num_views = len(markings)
        self.num_variants = _ENDLESS if augment else 1
        keys, self._names = _keys_of(subjects, markings, signature)
        self.digest = digest(["pictures", list(augment), *keys])

    def __len__(self) -> int:
        return len(self._subjects)

    def read(
        self, indices: Int[np.ndarray, " batch"], variants: Int[np.ndarray, " batch"] | None = None
    ) -> UInt8[np.ndarray, "batch picture row column channel"]:
        """The pictures of the subjects at these places of the list, by default as they are."""
        numbers = np.zeros(len(indices), dtype=np.int64) if variants is None else variants
        wanted = list(zip(indices.tolist(), numbers.tolist(), strict=True))
        if not self._workers:
            return np.stack([self._one(*one) for one in wanted])
        with ThreadPoolExecutor(self._workers) as pool:
            return np.stack(list(pool.map(lambda one: self._one(*one), wanted)))

    def _one(self, index: int, number: int) -> UInt8[np.ndarray, "picture row column channel"]:
        subject = self._subjects[index]
        variation = draw_variation(self._augment, name=self._names[index], number=number)
        try:
            return squares_of(subject, self._markings, self._fit, variation)
        except DataError as error:
            raise DataError(f"subject {subject.id!r}: {error}", hint=error.hint) from error


def _keys_of(
    subjects: Sequence[Subject], markings: Sequence[Marking], signature: str
) -> tuple[list[str], list[str]]:
    """(what the encoder sees of each subject, by content; the name under which each varies)."""
    keys, names, failures = [], [], []
    for subject in subjects:
        try:
            keys += [key for key, _ in looks_at(subject, markings, (), 1, signature)]
            # As with features that are kept: two people in one picture vary apart.
            names.append(feature_key(subject, Marking(), "variations"))
        except DataError as error:
            failures.append(f"{subject.id}: {error}")
    if failures:
        raise DataError(
            f"{len(failures)} of {len(subjects)} subjects have no picture; {failures[0]}",
            hint="mend or leave out these pictures",
        )
    return keys, names
