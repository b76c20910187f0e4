"""Encodes subjects into the feature cache: the encoder runs only for what the cache lacks."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mien.errors import DataError
from mien.features.cache import FeatureFile, FeatureReader, FeatureWriter
from mien.features.feature_views import FeatureView, feature_views
from mien.features.image_reader import load_pixels
from mien.features.vision_encoder import VisionEncoderSpec
from mien.media.images import Marking
from mien.media.memory import Reservation
from mien.media.views import OpenedPhoto
from mien.names import plain_name
from mien.prefetch import prefetch, runs, thread_pool
from mien.recipe.features import AugmentKind
from mien.types import Subject

__all__ = ["EncodeProgress", "FeatureCache", "common_num_frames"]

log = logging.getLogger(__name__)

Pixels = UInt8[np.ndarray, "image height width channel"]
_FLUSH_SECONDS = 5.0  # how much work a crash may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeProgress:
    """How far encoding is.

    Attributes:
        done: Views encoded so far.
        total: Views to encode.
        cached: Views that the cache had.
        seconds: Since the start.
    """

    done: int
    total: int
    cached: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCache:
    """The features of one encoder in a folder, one file per name (such as a split's).

    The encoder is not built if nothing is missing.

    Attributes:
        folder: The cache directory.
        spec: The encoder.
        batch_size: Views per forward pass.
        workers: Threads that read images while the encoder computes.
    """

    folder: Path
    spec: VisionEncoderSpec
    batch_size: int = 8
    workers: int = 0

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
        """The features of subjects; encodes those that are missing.

        Args:
            name: The name of the file.
            subjects: Who, in order.
            markings: One view per marking.
            on_progress: Called after each batch.
            augment: How the images of variants are varied.
            num_variants: Variants of each view, of which the first is the image as it is.

        Raises:
            DataError: If images cannot be read. The others are encoded first.
        """
        views = (markings,) if isinstance(markings, Marking) else tuple(markings)
        num_frames = common_num_frames(subjects)
        path = self.path(name, num_frames)
        file = FeatureFile.open(path, signature=self.spec.signature)
        by_key: dict[str, FeatureView] = {}
        failures: dict[str, str] = {}
        keys: list[str] = []
        for subject in subjects:
            try:
                own = feature_views(
                    subject, views, augment, num_variants, self.spec.signature, square=self.spec.square
                )
            except DataError as error:
                failures[subject.id] = f"{subject.id}: {error}"
                continue
            keys += [key for key, _ in own]
            by_key |= own
        missing = {key: by_key[key] for key in file.missing(keys)}
        if missing:
            log.info("encoding %d of %d images into %s", len(missing), len(by_key), path)
            report = _Reporter(len(missing), len(by_key) - len(missing), on_progress)
            encoder = self.spec.encoder
            shape = (num_frames * encoder.num_tokens, encoder.dim)
            with file.writing(missing, shape) as writer:
                self._encode(missing, failures, writer, report)
        if failures:
            raise DataError(
                f"{len(failures)} of {len(subjects)} subjects have no features; "
                f"{next(iter(failures.values()))}",
                hint="fix or leave out these images; the others are done",
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
        """(missing, total): how many views `features` would encode. Unreadable ones count as missing."""
        views = (markings,) if isinstance(markings, Marking) else tuple(markings)
        path = self.path(name, common_num_frames(subjects))
        file = FeatureFile.open(path, signature=self.spec.signature)
        keys: set[str] = set()
        unreadable = 0
        for subject in subjects:
            try:
                own = feature_views(
                    subject, views, augment, num_variants, self.spec.signature, square=self.spec.square
                )
                keys |= {key for key, _ in own}
            except DataError:
                unreadable += num_variants * len(views)
        return len(file.missing(keys)) + unreadable, len(keys) + unreadable

    def path(self, name: str, num_frames: int = 1) -> Path:
        """The file of this name; DataError if the name is not plain.

        Encoders do not share a file: what one has made stays when another is tried. Nor do clips with other
        numbers of frames, whose arrays have another shape.
        """
        clips = f"-{num_frames}-frames" if num_frames > 1 else ""
        return self.folder / self.spec.signature[:16] / f"{plain_name(name, 'the split')}{clips}.npy"

    def _encode(
        self,
        missing: Mapping[str, FeatureView],
        failures: dict[str, str],
        writer: FeatureWriter,
        report: "_Reporter",
    ) -> None:
        """Writes the features of readable views, and adds the errors of the others to `failures`."""
        flushed = time.monotonic()
        for keys, images in self._batches(missing, failures):
            writer.write(keys, self.spec.encoder.encode(np.stack(images)).cpu().numpy())
            report.add(len(keys))
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()

    def _batches(
        self, missing: Mapping[str, FeatureView], failures: dict[str, str]
    ) -> Iterator[tuple[list[str], list[Pixels]]]:
        """Batches of keys and pixels; adds the errors of unreadable views to `failures`."""

        def load(view: FeatureView, photo: OpenedPhoto) -> Pixels | str:
            try:
                return load_pixels(
                    view.subject, (view.marking,), self.spec.square, view.variation, photo=photo
                )
            except DataError as error:
                return f"{view.subject.id}: {error}"

        def load_all(views: Sequence[FeatureView]) -> list[Pixels | str]:
            with Reservation() as memory:
                photo = OpenedPhoto(memory)
                return [load(view, photo) for view in views]

        keys: list[str] = []
        images: list[Pixels] = []
        window = 4 * max(self.workers, self.batch_size)
        with thread_pool(self.workers) as pool:
            # The people in one photo come one after another, and so do the views of each: it is opened once.
            of_one_photo = runs(
                missing.values(), lambda view: view.subject.images, max_length=self.batch_size
            )
            loaded = prefetch(load_all, of_one_photo, pool=pool, window=window, weight=len)
            for key, image in zip(missing, chain.from_iterable(loaded), strict=True):
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


class _Reporter:
    """Counts encoded views, and reports them."""

    def __init__(self, total: int, cached: int, on_progress: Callable[[EncodeProgress], None] | None) -> None:
        self._total, self._cached, self._on_progress = total, cached, on_progress
        self._done = 0
        self._start = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if self._on_progress is not None:
            seconds = time.monotonic() - self._start
            self._on_progress(
                EncodeProgress(done=self._done, total=self._total, cached=self._cached, seconds=seconds)
            )


def common_num_frames(subjects: Sequence[Subject]) -> int:
    """The number of frames that every subject has, 1 if there are no subjects; DataError if they differ."""
    counts = {len(subject.images): subject.id for subject in subjects}
    if len(counts) > 1:
        (few, one), (many, other) = min(counts.items()), max(counts.items())
        raise DataError(
            f"subject {one!r} has {few} frames and {other!r} has {many}",
            hint="give all clips of a dataset the same number of frames, for example with its option "
            "num_frames",
        )
    return next(iter(counts), 1)
