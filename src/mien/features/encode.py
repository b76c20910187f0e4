"""Pictures of subjects to features, each made once: the encoder runs only for what the cache lacks.

Goes in: subjects, an encoder, how the subject is marked, a folder. Comes out: a reader of the subjects'
features, in their order.
Knows nothing about: labels, texts, training.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mien.errors import DataError
from mien.features.cache import FeatureFile, FeatureReader, FeatureWriter
from mien.features.feature_views import Look, feature_key, looks_at
from mien.features.image_reader import squares_of
from mien.features.vision import VisionSource
from mien.media.images import Marking
from mien.recipe.features import AugmentKind
from mien.types import Subject

__all__ = ["EncodeProgress", "FeatureCache", "feature_key", "num_frames_of"]

log = logging.getLogger(__name__)

Squares = UInt8[np.ndarray, "picture row column channel"]
_FLUSH_SECONDS = 5.0  # what a crash may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeProgress:
    """Pictures encoded so far, of those that had to be; `cached` were there already."""

    done: int
    total: int
    cached: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCache:
    """The features of one encoder under a folder, in one file for each name (such as a split's).

    The encoder is not even built where nothing is missing.
    """

    folder: Path
    source: VisionSource
    batch_size: int = 8
    workers: int = 0  # threads that prepare pictures while the encoder computes

    def features(
        self,
        name: str,
        subjects: Sequence[Subject],
        markings: Marking | Sequence[Marking],
        on_progress: Callable[[EncodeProgress], None] | None = None,
        *,
        augment: Sequence[AugmentKind] = (),
        num_variants: int = 1,
    ) -> FeatureReader:
        """The features of the subjects, made now where they are missing: a view for each marking, and of
        every view so many variants, the first of them the picture as it is.

        A picture that cannot be read does not stop the others; at the end, a DataError counts them.
        """
        views = (markings,) if isinstance(markings, Marking) else tuple(markings)
        num_frames = num_frames_of(subjects)
        path = self.path(name, num_frames)
        file = FeatureFile.open(path, signature=self.source.signature)
        looks: dict[str, Look] = {}
        failures: dict[str, str] = {}
        keys: list[str] = []
        for subject in subjects:
            try:
                own = looks_at(subject, views, augment, num_variants, self.source.signature)
            except DataError as error:
                failures[subject.id] = f"{subject.id}: {error}"
                continue
            keys += [key for key, _ in own]
            looks |= own
        missing = {key: looks[key] for key in file.missing(keys)}
        if missing:
            log.info("encoding %d of %d pictures into %s", len(missing), len(looks), path)
            report = _Reporter(len(missing), len(looks) - len(missing), on_progress)
            encoder = self.source.encoder
            shape = (num_frames * encoder.num_tokens, encoder.dim)
            with file.writing(missing, shape) as writer:
                self._encode(missing, failures, writer, report)
        if failures:
            raise DataError(
                f"{len(failures)} of {len(subjects)} subjects have no features; "
                f"{next(iter(failures.values()))}",
                hint="mend or leave out these pictures; the others are done",
            )
        return file.reader(keys, num_variants=num_variants, num_views=len(views))

    def missing(
        self,
        name: str,
        subjects: Sequence[Subject],
        markings: Marking | Sequence[Marking],
        *,
        augment: Sequence[AugmentKind] = (),
        num_variants: int = 1,
    ) -> tuple[int, int]:
        """How many pictures `features` would have to encode, of how many; the unreadable are missing."""
        views = (markings,) if isinstance(markings, Marking) else tuple(markings)
        file = FeatureFile.open(self.path(name, num_frames_of(subjects)), signature=self.source.signature)
        keys: set[str] = set()
        unreadable = 0
        for subject in subjects:
            try:
                looks = looks_at(subject, views, augment, num_variants, self.source.signature)
                keys |= {key for key, _ in looks}
            except DataError:
                unreadable += num_variants * len(views)
        return len(file.missing(keys)) + unreadable, len(keys) + unreadable

    def path(self, name: str, num_frames: int = 1) -> Path:
        """The file of this name. Encoders do not share one: what one has made stays when another is tried.
        Nor do clips of other numbers of frames, which are arrays of another shape."""
        clips = f"-{num_frames}-frames" if num_frames > 1 else ""
        return self.folder / self.source.signature[:16] / f"{name}{clips}.npy"

    def _encode(
        self,
        missing: Mapping[str, Look],
        failures: dict[str, str],
        writer: FeatureWriter,
        report: "_Reporter",
    ) -> None:
        """Writes what can be encoded; adds why the rest cannot."""
        flushed = time.monotonic()
        for keys, images in self._batches(missing, failures):
            writer.write(keys, self.source.encoder.encode_subjects(np.stack(images)).cpu().numpy())
            report.add(len(keys))
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()

    def _batches(
        self, missing: Mapping[str, Look], failures: dict[str, str]
    ) -> Iterator[tuple[list[str], list[Squares]]]:
        """Batches of (keys, pictures of each look); for what cannot be read, `failures` says why."""

        def prepared(look: Look) -> Squares | str:
            try:
                return squares_of(look.subject, (look.marking,), self.source.fit, look.variation)
            except DataError as error:
                return f"{look.subject.id}: {error}"

        keys: list[str] = []
        images: list[Squares] = []
        for key, image in zip(missing, self._ahead(prepared, list(missing.values())), strict=True):
            if isinstance(image, str):
                failures[missing[key].subject.id] = image
                continue
            keys.append(key)
            images.append(image)
            if len(keys) == self.batch_size:
                yield keys, images
                keys, images = [], []
        if keys:
            yield keys, images

    def _ahead(self, work: Callable[[Look], Squares | str], looks: Sequence[Look]) -> Iterator[Squares | str]:
        """The results in order, made by threads a little ahead of who asks (so that memory stays flat)."""
        if not self.workers:
            yield from map(work, looks)
            return
        block = 4 * max(self.workers, self.batch_size)
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = [pool.submit(work, look) for look in looks[:block]]
            for index in range(len(looks)):
                yield waiting[index % block].result()
                if index + block < len(looks):
                    waiting[index % block] = pool.submit(work, looks[index + block])


class _Reporter:
    """Counts, and tells whoever listens."""

    def __init__(self, total: int, cached: int, listener: Callable[[EncodeProgress], None] | None) -> None:
        self._total, self._cached, self._listener = total, cached, listener
        self._done = 0
        self._start = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if self._listener is not None:
            seconds = time.monotonic() - self._start
            self._listener(
                EncodeProgress(done=self._done, total=self._total, cached=self._cached, seconds=seconds)
            )


def num_frames_of(subjects: Sequence[Subject]) -> int:
    """The number of frames that every subject has; DataError if they differ."""
    counts = {len(subject.images): subject.id for subject in subjects}
    if len(counts) > 1:
        (few, one), (many, other) = min(counts.items()), max(counts.items())
        raise DataError(
            f"subject {one!r} has {few} frames and {other!r} has {many}",
            hint="give all clips of a data set the same number of frames, such as by its option num_frames",
        )
    return next(iter(counts), 1)
