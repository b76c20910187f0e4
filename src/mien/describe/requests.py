"""From a subject to a question with its key, and from there to the request that an engine gets.

Goes in: subjects, and how they are to be marked and asked about. Comes out: questions and requests.
Knows nothing about: which questions are answered already, or how an answer is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import Prompt, suited
from mien.describe.store.keys import KeyMaker, unreadable_key
from mien.describe.structured_output import checked
from mien.digests import digest, file_version
from mien.errors import DataError, EngineError
from mien.labels import LabelSet
from mien.media.images import Marking, image_digest, pixel_digest
from mien.media.views import prepare_pictures, viewed
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Box, Subject

__all__ = ["Question", "Questioner"]

# The people of one photo come one after another, mixed with those of a few others at most.
_FILES_REMEMBERED: Final = 256
_ANY_BOX: Final = Box(left=0, top=0, right=1, bottom=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about a subject, and the key of its answer."""

    subject: Subject
    key: str
    prompt_id: str
    text: str


class Questioner:
    """Asks the same thing about every subject; the engine tells what its model sees and what it is."""

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
        self._prompt = prompt
        self._label_set = label_set
        self._marking = marking
        self._fit = fit
        self._clip = clip
        self._size = engine.image_size
        self._digest = lru_cache(maxsize=_FILES_REMEMBERED)(_digest)
        # Taken once: making it may mean reading all weights.
        self._signature = dict(engine.signature)
        self.engine = f"{engine.name}@{digest(self._signature)[:12]}"
        # What does not depend on the subject, once, by whether a box is marked: a run may begin with a
        # million subjects that are described.
        self._ways = {has_mark: self._way(has_mark) for has_mark in (True, False)}

    @property
    def wording(self) -> str:
        """The text that is asked of a picture with a box."""
        return self._ways[True][1]

    def question(self, subject: Subject) -> Question:
        """The question about a subject; ImageError if a file of it cannot be read."""
        seen = viewed(subject, self._clip)
        marked = self._marked_boxes(seen)
        prompt_id, text, keys = self._ways[marked.count(None) < len(marked)]
        key = keys.key(
            image_digests=self._digests(seen),
            frames=[image.frame for image in seen.images],
            boxes=marked,
            # One picture is the same in every view.
            clip=self._clip if len(seen.images) > 1 else None,
        )
        return Question(subject=subject, key=key, prompt_id=prompt_id, text=text)

    def key(self, subject: Subject) -> str:
        """Where the answer about a subject is kept, or the failure, if its picture cannot be read now."""
        try:
            return self.question(subject).key
        except DataError:
            return self.unreadable_key(subject)

    def unreadable_key(self, subject: Subject) -> str:
        """The key under which it is kept that a subject's picture could not be read."""
        return unreadable_key(subject.id, self._prompt.digest(), self._signature)

    def request(self, question: Question) -> Request:
        """The picture as the model is to see it, and the question; ImageError, BoxError or DataError."""
        images = prepare_pictures(
            question.subject, marking=self._marking, clip=self._clip, fit_mode=self._fit, size=self._size
        )
        return Request(subject_id=question.subject.id, images=images, prompt=question.text)

    def checked(self, result: Reply | EngineError) -> Reply | EngineError:
        """A reply, or the error that it is not what the prompt asks for: a score for each label, say."""
        return checked(result, self._prompt, self._label_set)

    def _way(self, has_mark: bool) -> tuple[str, str, KeyMaker]:
        """The id and the text of the prompt that suits, and what makes the keys of its answers."""
        prompt = suited(self._prompt, [_ANY_BOX if has_mark else None], self._marking)
        text = prompt.render(self._label_set)
        # Without a mark in the pictures, all ways of marking are one.
        marking = self._marking if has_mark else Marking(style="none")
        return (
            prompt.id,
            text,
            KeyMaker(
                marking_digest=marking.digest(),
                fit=None if self._size is None else {"mode": self._fit, "size": self._size},
                prompt_digest=prompt.digest(),
                question=text,
                engine_signature=self._signature,
            ),
        )

    def _marked_boxes(self, subject: Subject) -> tuple[Box | None, ...]:
        """The boxes that leave a trace in the pictures."""
        if self._marking.style == "none":
            return (None,) * len(subject.boxes)
        return subject.boxes

    def _digests(self, subject: Subject) -> list[str]:
        """Of each picture's file; people of one photo and frames of one clip share a file, read once."""
        return [
            self._digest(image.path, *file_version(image.path))
            if image.pixels is None
            else pixel_digest(image.pixels)
            for image in subject.images
        ]


def _digest(path: Path, *version: int) -> str:  # the version is for the cache
    return image_digest(path)
