"""The key of a description: a digest of everything that determines its text, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mien.digests import canonical_json, digest
from mien.errors import DataError
from mien.types import Box

__all__ = ["SharedKeyParts", "description_key", "still_key", "unreadable_key"]

# Increase this when the same parts come to mean another text.
_VERSION = 1
_EMPTY_HASH = hashlib.sha256()


class SharedKeyParts:
    """The parts that the keys of many subjects have in common, serialized once.

    Args:
        marking_digest: Digest of how the box is marked in the image.
        fit: How the image is fitted to a square, or None if it is not.
        prompt_digest: Digest of the prompt's id and template.
        question: The prompt as rendered with the label set.
        engine_signature: What of the engine affects the text: model revision, dtype, decoding parameters.
    """

    def __init__(
        self,
        *,
        marking_digest: str,
        fit: Mapping[str, JsonValue] | None,
        prompt_digest: str,
        question: str,
        engine_signature: Mapping[str, JsonValue],
    ) -> None:
        # The members of a key's canonical JSON, in its order, before and after those of one subject.
        self.engine_and_fit = _members(
            {"engine": dict(engine_signature), "fit": None if fit is None else dict(fit)}
        )
        self.marking_to_version = _members(
            {"marking": marking_digest, "prompt": prompt_digest, "question": question, "version": _VERSION}
        )
        # What is around the box and the image of one whole image file.
        self.boxes_to_image = f'],{self.engine_and_fit},"frames":[null],"images":["'
        self.behind_image = f'"],{self.marking_to_version}}}'


def description_key(
    shared: SharedKeyParts,
    *,
    image_digests: Sequence[str],
    frames: Sequence[int | None],
    boxes: Sequence[Box | None],
    clip: str | None = None,
    scales: Sequence[int] = (),
) -> str:
    """The key of a description: SHA-256 of canonical JSON of all that determines its text.

    These parts enter, and nothing else:

    - the content of each image file, as a digest, and the frame that is read from it;
    - the box that is marked in each image, and the marking style;
    - how several frames become one image, and how an image is fitted to the model's square;
    - the scale at which each image is decoded, if one is decoded at a smaller size;
    - the prompt's id and template, and its text as rendered with the label set;
    - the engine's signature: model revision, dtype, decoding parameters.

    Paths and subject ids do not enter, so the same photo has the same key under any name.

    Args:
        shared: The parts that do not depend on the subject.
        image_digests: Hex digests of the image files, one per image.
        frames: The frame of each image, None for a still.
        boxes: The box that is marked in each image, None for no mark.
        clip: How several frames become one image; None for a single image.
        scales: The scale at which each image is decoded, such as 4 for a quarter; by default 1.

    Returns:
        64 hex digits.

    Raises:
        DataError: The three sequences differ in length.
    """
    if not len(image_digests) == len(frames) == len(boxes):
        raise DataError(f"{len(image_digests)} images, {len(frames)} frames and {len(boxes)} boxes")
    box_list = ",".join(map(_edges, boxes))
    clip_member = "" if clip is None else f',"clip":{canonical_json(clip)}'
    # Absent at scale 1, so that photos of usual size keep the keys of 0.1.0.
    if any(scale > 1 for scale in scales):
        clip_member += f',"draft":{canonical_json(list(scales))}'
    frame_list = ",".join("null" if frame is None else str(int(frame)) for frame in frames)
    image_list = ",".join(f'"{image}"' for image in image_digests)
    # Canonical JSON, written by hand, which takes a fraction of the library's time.
    text = (
        f'{{"boxes":[{box_list}]{clip_member},{shared.engine_and_fit},"frames":[{frame_list}],'
        f'"images":[{image_list}],{shared.marking_to_version}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()


def still_key(shared: SharedKeyParts, image_digest: str, box: Box | None) -> str:
    """The `description_key` of one whole image file, in half the time: a run looks up a million of them."""
    text = f'{{"boxes":[{_edges(box)}{shared.boxes_to_image}{image_digest}{shared.behind_image}'
    state = _EMPTY_HASH.copy()  # takes less time than a new one
    state.update(text.encode())
    return state.hexdigest()


def _edges(box: Box | None) -> str:
    if box is None:
        return "null"
    return f"[{float(box.left)!r},{float(box.top)!r},{float(box.right)!r},{float(box.bottom)!r}]"


def _members(table: Mapping[str, object]) -> str:
    return canonical_json(table)[1:-1]


def unreadable_key(subject_id: str, prompt_digest: str, engine_signature: Mapping[str, JsonValue]) -> str:
    """The key of the failure of a subject whose image cannot be read, and so has no content to digest."""
    # An id that comes from a file name may contain lone surrogates, which have no UTF-8 form.
    escaped_id = subject_id.encode(errors="backslashreplace").decode()
    return digest({"unreadable": escaped_id, "prompt": prompt_digest, "engine": dict(engine_signature)})
