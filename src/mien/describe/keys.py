"""The name of a description: a digest of everything that determines its text, and of nothing else.

Goes in: what the model sees, what it is asked, which model it is. Comes out: 64 hex digits.
Knows nothing about: paths, subject ids, stores. The same photo under another name has the same key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mien.digests import digest
from mien.errors import DataError
from mien.types import Box

__all__ = ["description_key", "unreadable_key"]

# Raise this when the same parts come to mean another text.
_VERSION = 1


def description_key(
    *,
    image_digests: Sequence[str],
    frames: Sequence[int | None],
    boxes: Sequence[Box | None],
    marking_digest: str,
    fit: Mapping[str, JsonValue] | None,
    prompt_digest: str,
    question: str,
    engine_signature: Mapping[str, JsonValue],
    clip: str | None = None,
) -> str:
    """The key of a description.

    `boxes` are those that are marked, `fit` says how the picture was brought to a square (None: not at
    all), `question` is the prompt as rendered with its labels, `clip` how several frames become a picture.
    """
    if not len(image_digests) == len(frames) == len(boxes):
        raise DataError(f"{len(image_digests)} images, {len(frames)} frames and {len(boxes)} boxes")
    view = {} if clip is None else {"clip": clip}  # stills keep the keys that they have
    return digest(
        {
            "version": _VERSION,
            **view,
            "images": list(image_digests),
            "frames": list(frames),
            "boxes": [None if box is None else [float(edge) for edge in box.as_tuple()] for box in boxes],
            "marking": marking_digest,
            "fit": None if fit is None else dict(fit),
            "prompt": prompt_digest,
            "question": question,
            "engine": dict(engine_signature),
        }
    )


def unreadable_key(subject_id: str, prompt_digest: str, engine_signature: Mapping[str, JsonValue]) -> str:
    """Where the failure is kept of a subject whose picture cannot even be read, so that it has no content."""
    # An id taken from a file's name may hold half characters, which have no bytes.
    spelt = subject_id.encode(errors="backslashreplace").decode()
    return digest({"unreadable": spelt, "prompt": prompt_digest, "engine": dict(engine_signature)})
