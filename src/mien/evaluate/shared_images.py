"""Images that a scored split shares with the splits that training saw: their scores may be too good.

Training leaves the size and a digest of each of its images in the run, so that evaluating reads only the
images whose size occurs there, wherever the images of training are by then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypedDict

from mien.errors import ImageError
from mien.evaluate.results.results import SharedImages
from mien.files import atomic_write_json
from mien.media.images import image_digest
from mien.types import Sample

__all__ = [
    "TRAINING_IMAGES",
    "TrainingImages",
    "count_training_images",
    "find_shared_images",
    "has_training_images",
    "record_training_images",
]

log = logging.getLogger(__name__)

TRAINING_IMAGES: Final = "training_images.json"
_SCHEMA: Final = 1
_SIZE_DIGITS: Final = 12
_DIGEST_DIGITS: Final = 32  # 128 bits
_DIGITS: Final = _SIZE_DIGITS + _DIGEST_DIGITS


class TrainingImages(TypedDict):
    """The images that a model was trained with.

    Attributes:
        model: The digest of the model's weights.
        images: By split, a text with 44 hexadecimal digits per image, sorted: 12 for the size of its file in
            bytes, and the first 32 of the SHA-256 digest of the file.
    """

    schema: Literal[1]
    model: str
    images: dict[str, str]


def record_training_images(run: Path, samples: Mapping[str, Sequence[Sample]], *, model: str) -> None:
    """Records the images of each split that the model of this digest was trained with.

    Reads each image once.
    """
    splits = {}
    for split, of_split in samples.items():
        keys = {key for path in _paths(of_split) if (key := _key(path)) is not None}
        splits[split] = "".join(sorted(keys))
    document: TrainingImages = {"schema": _SCHEMA, "model": model, "images": splits}
    atomic_write_json(run / TRAINING_IMAGES, document)


def has_training_images(run: Path, *, model: str) -> bool:
    """Whether the images that this model was trained with are recorded."""
    return _read(run, model) is not None


def count_training_images(run: Path, *, model: str) -> dict[str, int]:
    """How many different images each split has that this model was trained with; empty if not recorded."""
    return {split: len(keys) for split, keys in (_read(run, model) or {}).items()}


def find_shared_images(
    run: Path, samples: Mapping[str, Sequence[Sample]], *, model: str
) -> tuple[SharedImages, ...]:
    """What each scored split shares with those of training, one value per pair that shares any.

    Nothing is found in a run of version 0.1.0, which did not record its images.

    Args:
        run: The run directory.
        samples: The samples of each scored split.
        model: The digest of the run's model.
    """
    recorded = _read(run, model)
    if recorded is None:
        log.info("%s does not record its training images, so that none are compared", run)
        return ()
    found = []
    for split, of_split in samples.items():
        others = {name: keys for name, keys in recorded.items() if name != split}
        shared = _shared_paths(of_split, others)
        num_images = len(set(_paths(of_split)))
        for name, paths in shared.items():
            num_samples = sum(any(path in paths for path in _paths([sample])) for sample in of_split)
            found.append(
                SharedImages(
                    split=split,
                    other=name,
                    images=len(paths),
                    of_images=num_images,
                    samples=num_samples,
                    n=len(of_split),
                )
            )
    return tuple(found)


def _shared_paths(samples: Iterable[Sample], others: Mapping[str, frozenset[str]]) -> dict[str, set[Path]]:
    """The images of these samples that another split has as well, by that split."""
    sizes = frozenset(key[:_SIZE_DIGITS] for keys in others.values() for key in keys)
    shared: dict[str, set[Path]] = {}
    for path in _paths(samples):
        key = _key(path, sizes)
        for name, keys in others.items():
            if key in keys:
                shared.setdefault(name, set()).add(path)
    return shared


def _paths(samples: Iterable[Sample]) -> dict[Path, None]:
    """The files of samples, each once, in order."""
    return dict.fromkeys(
        image.path for sample in samples for image in sample.subject.images if image.pixels is None
    )


def _key(path: Path, sizes: frozenset[str] | None = None) -> str | None:
    """The size and a digest of a file; None if it cannot be read, or has none of these sizes."""
    try:
        size = f"{path.stat().st_size:0{_SIZE_DIGITS}x}"
        return None if sizes is not None and size not in sizes else size + image_digest(path)[:_DIGEST_DIGITS]
    except (OSError, ImageError):
        return None


def _read(run: Path, model: str) -> dict[str, frozenset[str]] | None:
    """The recorded images by split; None if there are none of this model."""
    path = run / TRAINING_IMAGES
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA or document["model"] != model:
            return None
        return {
            str(split): frozenset(keys[at : at + _DIGITS] for at in range(0, len(keys), _DIGITS))
            for split, keys in document["images"].items()
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read, so that no images are compared: %s", path, error)
        return None
