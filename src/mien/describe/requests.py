"""Builds the request for a subject: what to ask, the key of the description, and the prepared images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import Prompt, select_prompt
from mien.describe.reasoning import remove_reasoning
from mien.describe.store.keys import SharedKeyParts, description_key, still_key, unreadable_key
from mien.describe.structured_output import check_reply
from mien.digests import digest, file_version
from mien.errors import DataError, EngineError
from mien.labels import LabelSet
from mien.media.images import ImageIdentity, Marking, Square, identify_image, pixel_digest
from mien.media.shrink import View
from mien.media.views import (
    OpenedPhoto,
    prepare_images,
    prepare_with_boxes,
    prepared_bytes,
    select_frames,
)
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Box, Description, ImageRef, Subject

__all__ = ["KEYED_AT_ONCE", "DescriptionRequest", "RequestBuilder"]

KEYED_AT_ONCE: Final = 16  # subjects whose files are read by one task of a thread

# The people of one photo come one after another, mixed with those of a few other photos at most.
_FILES_REMEMBERED: Final = 256
_ANY_BOX: Final = Box(left=0, top=0, right=1, bottom=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionRequest:
    """What to ask about a subject, and the key under which its description is stored."""

    subject: Subject
    key: str
    prompt_id: str
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RenderedPrompt:
    """A prompt for images with a marked box, or without one, and what all keys made with it share."""

    id: str
    text: str
    key_parts: SharedKeyParts


class RequestBuilder:
    """Builds requests that ask an engine the same about every subject.

    Describing and looking up descriptions must agree on all of these arguments, because they enter the key.

    Args:
        engine: The engine whose signature enters the keys. It is not called.
        prompt: What to ask. Its counterpart without a box is used where the images show none.
        label_set: The labels that the prompt lists.
        marking: How the subject's box is marked in the image.
        fit: How an image becomes a square, for engines that need one.
        clip: How several frames become images.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        prompt: Prompt,
        label_set: LabelSet,
        marking: Marking,
        fit: FitMode = "letterbox",
        clip: ClipView = "middle_frame",
    ) -> None:
        self.engine = engine
        self._prompt = prompt
        self._label_set = label_set
        self._marking = marking
        self._shows_boxes = marking.style != "none"
        self._fit = fit
        self._clip = clip
        self._size = engine.image_size
        self._view = View(
            marking=marking, square=None if self._size is None else Square(self._size, self._fit)
        )
        self._identify_file = lru_cache(maxsize=_FILES_REMEMBERED)(_identify_file)
        # Read once: computing it may mean reading all weights.
        self._signature = dict(engine.signature)
        self.engine_id = f"{engine.name}@{digest(self._signature)[:12]}"
        # What does not depend on the subject is rendered once, by whether a box is marked: a run may begin
        # with a million subjects that are described already.
        self._rendered = {has_mark: self._render(has_mark=has_mark) for has_mark in (True, False)}

    @property
    def prompt_text(self) -> str:
        """The text of the prompt for an image with a box."""
        return self._rendered[True].text

    def build(self, subject: Subject) -> DescriptionRequest:
        """The request for a subject; ImageError if one of its files cannot be read."""
        return self.request(subject, self._key(subject, {}))

    def request(self, subject: Subject, key: str) -> DescriptionRequest:
        """The request for a subject whose key is known."""
        boxes = self._marked_boxes(select_frames(subject, self._clip))
        prompt = self._rendered[any(box is not None for box in boxes)]
        return DescriptionRequest(subject=subject, key=key, prompt_id=prompt.id, prompt=prompt.text)

    def keys(self, subjects: Iterable[Subject]) -> list[str | DataError]:
        """The key of each subject's description, or in its place why its image cannot be read.

        A file that several of them share is looked at once.
        """
        files: dict[Path, ImageIdentity] = {}
        keys: list[str | DataError] = []
        for subject in subjects:
            try:
                keys.append(self._key(subject, files))
            except DataError as error:
                keys.append(error)
        return keys

    def stored_keys(self, subjects: Sequence[Subject]) -> list[str]:
        """The key of each subject's description, or of its failure if its image cannot be read now."""
        return list(map(self.stored_key, subjects, self.keys(subjects)))

    def stored_key(self, subject: Subject, key: str | DataError) -> str:
        """What stands in a store for a subject with this key, or with this reason why it has none."""
        return self.unreadable_key(subject) if isinstance(key, DataError) else key

    def full_size_key(self, subject: Subject) -> str:
        """The key that 0.1.0 gave, which decoded photos of any size whole; ImageError as `build`."""
        return self._key(subject, {}, is_whole=True)

    def unreadable_key(self, subject: Subject) -> str:
        """The key of the failure that is stored while a subject's image cannot be read."""
        return unreadable_key(subject.id, self._prompt.digest(), self._signature)

    def prepare(self, request: DescriptionRequest, photo: OpenedPhoto | None = None) -> Request:
        """The engine's request, with images as the model sees them; ImageError, BoxError or DataError.

        With `photo`, the photo of the last request is decoded only once.
        """
        if self.engine.takes_boxes:
            images, boxes = prepare_with_boxes(
                request.subject, marking=self._marking, clip=self._clip, photo=photo
            )
            return Request(subject_id=request.subject.id, images=images, prompt=request.prompt, boxes=boxes)
        images = prepare_images(
            request.subject,
            marking=self._marking,
            clip=self._clip,
            fit_mode=self._fit,
            size=self._size,
            photo=photo,
        )
        return Request(subject_id=request.subject.id, images=images, prompt=request.prompt)

    def num_bytes(self, request: DescriptionRequest) -> int:
        """About how much memory the prepared images take; 0 if the engine takes small squares."""
        if self._size is not None:
            return 0
        return prepared_bytes(select_frames(request.subject, self._clip), self._marking)

    def check(self, result: Reply | EngineError) -> Reply | EngineError:
        """The reply without its reasoning, or an error if it is not what the prompt asks for.

        Every description passes here, also if it was made elsewhere and is imported.
        """
        if not isinstance(result, EngineError):
            result = remove_reasoning(result)
        return check_reply(result, self._prompt, self._label_set)

    def description(self, request: DescriptionRequest, reply: Reply) -> Description:
        """The description that a reply to this request becomes."""
        return Description(
            key=request.key,
            subject_id=request.subject.id,
            text=reply.text,
            prompt_id=request.prompt_id,
            engine=self.engine_id,
            finish=reply.finish,
        )

    def _render(self, *, has_mark: bool) -> _RenderedPrompt:
        prompt = select_prompt(self._prompt, [_ANY_BOX if has_mark else None], self._marking)
        text = prompt.render(self._label_set)
        # Without a mark in the images, all marking styles are the same.
        marking = self._marking if has_mark else Marking(style="none")
        key_parts = SharedKeyParts(
            marking_digest=marking.digest(),
            fit=None if self._size is None else {"mode": self._fit, "size": self._size},
            prompt_digest=prompt.digest(),
            question=text,
            engine_signature=self._signature,
        )
        return _RenderedPrompt(id=prompt.id, text=text, key_parts=key_parts)

    def _key(self, subject: Subject, files: dict[Path, ImageIdentity], *, is_whole: bool = False) -> str:
        """The key of a subject's description.

        Args:
            subject: Who.
            files: Remembers the files that were looked at.
            is_whole: Whether to take photos as decoded whole.
        """
        first = subject.images[0]
        if first.frame is None and first.pixels is None and len(subject.images) == 1:
            image = files.get(first.path) or self._identify(first, files)
            box = subject.boxes[0] if self._shows_boxes else None
            if image.shrinkable_size is None or is_whole or self._view.scale_of(image, box) == 1:
                return still_key(self._rendered[box is not None].key_parts, image.digest, box)
        shown = select_frames(subject, self._clip)
        boxes = self._marked_boxes(shown)
        images = [self._identify(image, files) for image in shown.images]
        return description_key(
            self._rendered[any(box is not None for box in boxes)].key_parts,
            image_digests=[image.digest for image in images],
            frames=[image.frame for image in shown.images],
            boxes=boxes,
            # A single image is the same in every view.
            clip=self._clip if len(shown.images) > 1 else None,
            scales=() if is_whole else self._scales(shown, images),
        )

    def _marked_boxes(self, subject: Subject) -> tuple[Box | None, ...]:
        """The boxes that are visible in the images."""
        if not self._shows_boxes:
            return (None,) * len(subject.boxes)
        return subject.boxes

    def _identify(self, image: ImageRef, files: dict[Path, ImageIdentity]) -> ImageIdentity:
        """People in one photo and frames of one clip share a file, which is read once."""
        if image.pixels is not None:
            return ImageIdentity(pixel_digest(image.pixels))
        found = files.get(image.path)
        if found is None:
            found = files[image.path] = self._identify_file(image.path, *file_version(image.path))
        return found

    def _scales(self, shown: Subject, images: Sequence[ImageIdentity]) -> list[int]:
        """The scale at which each image is decoded; those on a contact sheet are decoded whole."""
        if len(images) > 1 and self._clip != "frames":
            return [1] * len(images)
        # As it is drawn: `_marked_boxes` leaves out what is not.
        return [self._view.scale_of(image, box) for image, box in zip(images, shown.boxes, strict=True)]


def _identify_file(path: Path, *version: int) -> ImageIdentity:  # the version is for the cache
    return identify_image(path)
