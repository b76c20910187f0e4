"""The name of a description: a digest of everything that determines its text, and of nothing else.

Goes in: what the model sees, what it is asked, which model it is. Comes out: 64 hex digits.
Knows nothing about: paths, subject ids, stores. The same photo under another name has the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mien.digests import canonical_json, digest
from mien.errors import DataError
from mien.types import Box

__all__ = ["KeyMaker", "description_key", "unreadable_key"]

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

    `image_digests` are hex digits; `boxes` are those that are marked; `fit` says how the picture was brought
    to a square (None: not at all), `question` is the prompt as rendered with its labels, `clip` how several
    frames become a picture.
    """
    maker = KeyMaker(
        marking_digest=marking_digest,
        fit=fit,
        prompt_digest=prompt_digest,
        question=question,
        engine_signature=engine_signature,
    )
    return maker.key(image_digests, frames, boxes, clip)


class KeyMaker:
    """`description_key` for many pictures that are asked about in one way, spelling that way out once."""

    def __init__(
        self,
        *,
        marking_digest: str,
        fit: Mapping[str, JsonValue] | None,
        prompt_digest: str,
        question: str,
        engine_signature: Mapping[str, JsonValue],
    ) -> None:
        # The members of the canonical JSON of a key, in its order, around those that differ.
        self._middle = _members({"engine": dict(engine_signature), "fit": None if fit is None else dict(fit)})
        self._end = _members(
            {"marking": marking_digest, "prompt": prompt_digest, "question": question, "version": _VERSION}
        )

    def key(
        self,
        image_digests: Sequence[str],
        frames: Sequence[int | None],
        boxes: Sequence[Box | None],
        clip: str | None = None,
    ) -> str:
        """The key that `description_key` gives to the same parts."""
        if not len(image_digests) == len(frames) == len(boxes):
            raise DataError(f"{len(image_digests)} images, {len(frames)} frames and {len(boxes)} boxes")
        # Written by hand in canonical JSON, several times as fast as by its library: a resumed run makes one
        # for every row that is done. Stills keep the keys that they have.
        view = "" if clip is None else f',"clip":{canonical_json(clip)}'
        seen = ",".join("null" if frame is None else str(int(frame)) for frame in frames)
        images = ",".join(f'"{image}"' for image in image_digests)
        text = (
            f'{{"boxes":[{",".join(map(_edges, boxes))}]{view},{self._middle},"frames":[{seen}],'
            f'"images":[{images}],{self._end}}}'
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _edges(box: Box | None) -> str:
    if box is None:
        return "null"
    return f"[{float(box.left)!r},{float(box.top)!r},{float(box.right)!r},{float(box.bottom)!r}]"


def _members(table: Mapping[str, object]) -> str:
    return canonical_json(table)[1:-1]


def unreadable_key(subject_id: str, prompt_digest: str, engine_signature: Mapping[str, JsonValue]) -> str:
    """Where the failure is kept of a subject whose picture cannot even be read, so that it has no content."""
    # An id taken from a file's name may hold half characters, which have no bytes.
    spelt = subject_id.encode(errors="backslashreplace").decode()
    return digest({"unreadable": spelt, "prompt": prompt_digest, "engine": dict(engine_signature)})
