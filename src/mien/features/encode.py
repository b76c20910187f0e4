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

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mien.digests import digest
from mien.errors import DataError
from mien.features.cache import FeatureFile, FeatureReader, FeatureWriter
from mien.features.vision import VisionEncoder, VisionSource
from mien.images import Marking, image_digest
from mien.types import Subject
from mien.views import prepare_frames

__all__ = ["EncodeProgress", "FeatureCache", "encode_frames", "feature_key"]

log = logging.getLogger(__name__)

Frames = tuple[Image.Image, ...]
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
        marking: Marking,
        on_progress: Callable[[EncodeProgress], None] | None = None,
    ) -> FeatureReader:
        """The features of the subjects, made now where they are missing.

        A picture that cannot be read does not stop the others; at the end, a DataError counts them.
        """
        # Encoders do not share a file: what one has made stays when another is tried.
        num_frames = _num_frames(subjects)
        # Nor do clips of another number of frames, whose rows are longer.
        frames = f"-{num_frames}-frames" if num_frames > 1 else ""
        path = self.folder / self.source.signature[:16] / f"{name}{frames}.npy"
        file = FeatureFile.open(path, signature=self.source.signature)
        keys, failures = self._keys(subjects, marking)
        by_key = dict(zip(keys, subjects, strict=True))
        missing = {key: by_key[key] for key in file.missing(keys) if key}
        if missing:
            log.info("encoding %d of %d pictures into %s", len(missing), len(by_key), path)
            report = _Reporter(len(missing), len(by_key) - len(missing), on_progress)
            encoder = self.source.encoder
            with file.writing(missing, (num_frames * encoder.num_tokens, encoder.dim)) as writer:
                failures += self._encode(missing, marking, writer, report)
        if failures:
            raise DataError(
                f"{len(failures)} of {len(subjects)} subjects have no features; {failures[0]}",
                hint="mend or leave out these pictures; the others are done",
            )
        return file.reader(keys)

    def _keys(self, subjects: Sequence[Subject], marking: Marking) -> tuple[list[str], list[str]]:
        """A key for each subject, "" for one whose picture cannot be read; and why those cannot."""
        keys, failures = [], []
        for subject in subjects:
            try:
                keys.append(feature_key(subject, marking, self.source.signature))
            except DataError as error:
                failures.append(f"{subject.id}: {error}")
                keys.append("")
        return keys, failures

    def _encode(
        self, missing: Mapping[str, Subject], marking: Marking, writer: FeatureWriter, report: "_Reporter"
    ) -> list[str]:
        """Writes what can be encoded; says why the rest cannot."""
        failures: list[str] = []
        flushed = time.monotonic()
        for keys, images in self._batches(missing, marking, failures):
            writer.write(keys, encode_frames(self.source.encoder, images).cpu().numpy())
            report.add(len(keys))
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()
        return failures

    def _batches(
        self, missing: Mapping[str, Subject], marking: Marking, failures: list[str]
    ) -> Iterator[tuple[list[str], list[Frames]]]:
        """Batches of (keys, pictures of each subject); for what cannot be read, `failures` says why."""

        def prepared(subject: Subject) -> Frames | str:
            try:
                frames = prepare_frames(subject, marking=marking)
                return tuple(self.source.encoder.fit(frame) for frame in frames)
            except DataError as error:
                return f"{subject.id}: {error}"

        keys: list[str] = []
        images: list[Frames] = []
        for key, image in zip(missing, self._ahead(prepared, list(missing.values())), strict=True):
            if isinstance(image, str):
                failures.append(image)
                continue
            keys.append(key)
            images.append(image)
            if len(keys) == self.batch_size:
                yield keys, images
                keys, images = [], []
        if keys:
            yield keys, images

    def _ahead(
        self, work: Callable[[Subject], Frames | str], subjects: Sequence[Subject]
    ) -> Iterator[Frames | str]:
        """The results in order, made by threads a little ahead of who asks (so that memory stays flat)."""
        if not self.workers:
            yield from map(work, subjects)
            return
        block = 4 * max(self.workers, self.batch_size)
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = [pool.submit(work, subject) for subject in subjects[:block]]
            for index in range(len(subjects)):
                yield waiting[index % block].result()
                if index + block < len(subjects):
                    waiting[index % block] = pool.submit(work, subjects[index + block])


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


def feature_key(subject: Subject, marking: Marking, signature: str) -> str:
    """The name of a subject's features: changes with the picture's bytes, the box if it is marked, the
    marking and the encoder; not with where the file lies or what the subject is called."""
    boxes = subject.boxes if marking.style != "none" else (None,) * len(subject.boxes)
    # Frames of one clip share a file, which is read once.
    digests = {path: image_digest(path) for path in dict.fromkeys(image.path for image in subject.images)}
    return digest(
        {
            "encoder": signature,
            "marking": marking.digest(),
            "images": [
                {
                    "image": digests[image.path],
                    "frame": image.frame,
                    "box": None if box is None else [float(edge) for edge in box.as_tuple()],
                }
                for image, box in zip(subject.images, boxes, strict=True)
            ],
        }
    )


def encode_frames(
    encoder: VisionEncoder, subjects: Sequence[Frames], *, at_once: int = 32
) -> Float[Tensor, "batch token dim"]:
    """The tokens of all frames of each subject, one frame after another: a clip of F frames of P tokens
    gives F x P. Every subject has the same number of frames; `at_once` bounds what the encoder gets."""
    frames = [frame for subject in subjects for frame in subject]
    tokens = [encoder.encode(frames[start : start + at_once]) for start in range(0, len(frames), at_once)]
    return torch.cat(tokens).reshape(len(subjects), -1, encoder.dim)


def _num_frames(subjects: Sequence[Subject]) -> int:
    counts = {len(subject.images): subject.id for subject in subjects}
    if len(counts) > 1:
        (few, one), (many, other) = min(counts.items()), max(counts.items())
        raise DataError(
            f"subject {one!r} has {few} frames and {other!r} has {many}",
            hint="give all clips of a data set the same number of frames, such as by its option num_frames",
        )
    return next(iter(counts), 1)
