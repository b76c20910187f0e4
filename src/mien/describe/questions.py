"""From a subject to a question with its key, and from there to the request that an engine gets.

Goes in: subjects, and how they are to be marked and asked about. Comes out: questions and requests.
Knows nothing about: which questions are answered already, or how an answer is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from mien.describe.engine import Engine, Request
from mien.describe.keys import description_key, unreadable_key
from mien.describe.prompts import Prompt, suited
from mien.digests import digest
from mien.images import Marking, image_digest
from mien.labels import LabelSet
from mien.types import Box, ClipView, FitMode, Subject
from mien.views import prepare, viewed

__all__ = ["Question", "Questioner"]


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
        # Taken once: making it may mean reading all weights.
        self._signature = dict(engine.signature)
        self.engine = f"{engine.name}@{digest(self._signature)[:12]}"

    def question(self, subject: Subject) -> Question:
        """The question about a subject; ImageError if a file of it cannot be read."""
        seen = viewed(subject, self._clip)
        marked = self._marked_boxes(seen)
        prompt = suited(self._prompt, marked, self._marking)
        text = prompt.render(self._label_set)
        key = description_key(
            image_digests=_digests(seen),
            frames=[image.frame for image in seen.images],
            boxes=marked,
            # One picture is the same in every view.
            clip=self._clip if len(seen.images) > 1 else None,
            marking_digest=self._marking_of(marked).digest(),
            fit=None if self._size is None else {"mode": self._fit, "size": self._size},
            prompt_digest=prompt.digest(),
            question=text,
            engine_signature=self._signature,
        )
        return Question(subject=subject, key=key, prompt_id=prompt.id, text=text)

    def unreadable_key(self, subject: Subject) -> str:
        """The key under which it is kept that a subject's picture could not be read."""
        return unreadable_key(subject.id, self._prompt.digest(), self._signature)

    def request(self, question: Question) -> Request:
        """The picture as the model is to see it, and the question; ImageError, BoxError or DataError."""
        image = prepare(
            question.subject, marking=self._marking, clip=self._clip, fit_mode=self._fit, size=self._size
        )
        return Request(subject_id=question.subject.id, images=(image,), prompt=question.text)

    def _marking_of(self, marked: tuple[Box | None, ...]) -> Marking:
        """Without a mark in the pictures, all ways of marking are one."""
        return Marking(style="none") if all(box is None for box in marked) else self._marking

    def _marked_boxes(self, subject: Subject) -> tuple[Box | None, ...]:
        """The boxes that leave a trace in the pictures."""
        if self._marking.style == "none":
            return (None,) * len(subject.boxes)
        return subject.boxes


def _digests(subject: Subject) -> list[str]:
    """Of each picture's file; frames of one clip share a file, which is read once."""
    by_path = {path: image_digest(path) for path in dict.fromkeys(image.path for image in subject.images)}
    return [by_path[image.path] for image in subject.images]
