"""Counterfactuals: the scores of a person if one thing were different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from PIL import Image, ImageDraw
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from mien.errors import MienError
from mien.features.image_reader import load_pixels
from mien.media.views import load_image
from mien.predict.explain.probe import ModelProbe
from mien.predict.explain.regions import blur
from mien.types import Box, ImageRef, Prediction, Subject

if TYPE_CHECKING:
    from mien.predict.explain.regions import PhotoRegions

__all__ = [
    "COUNTERFACTUAL_KINDS",
    "Counterfactual",
    "CounterfactualDict",
    "CounterfactualKind",
    "answer",
    "face_area",
]

CounterfactualKind = Literal[
    "no_words", "no_image", "other_box", "other_words", "face_blurred", "background_blurred", "description"
]
COUNTERFACTUAL_KINDS: Final[tuple[CounterfactualKind, ...]] = get_args(CounterfactualKind)

_FACE_BLUR: Final = 0.25  # standard deviation, as a share of the longer side of the face
_BACKGROUND_BLUR: Final = 0.05  # as a share of the longer side of the photo
_FACE_HEIGHT: Final = 0.35  # of the box: the head of someone who stands or sits
_FACE_WIDTH: Final = 0.6


class CounterfactualDict(TypedDict):
    """`Counterfactual` as plain values."""

    kind: str
    what: str
    scores: dict[str, float]
    scores_of_same_words: dict[str, float] | None
    description: str | None
    box: list[float] | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """The scores of a person if one thing were different.

    Attributes:
        kind: "no_words": the model reads no description. "no_image": it sees a gray square instead of the
            photo, and reads the same description. "other_box": the box is on another person, who is described
            anew. "other_words": the description of another person. "face_blurred", "background_blurred": the
            photo is changed, and described anew. "description": a given text.
        what: The kind in words, such as "the box on person 1".
        scores: A score from 0 to 1 per label; empty with an error.
        scores_of_same_words: The scores if the image alone is different and the description is kept; None
            where nothing is described anew.
        description: What the model read; None if nothing.
        box: The box of the person in pixels of the photo; None if the whole photo is the subject.
        error: Why there are no scores; None if there are.
    """

    kind: CounterfactualKind
    what: str
    scores: Mapping[str, float] = field(default_factory=dict)
    scores_of_same_words: Mapping[str, float] | None = None
    description: str | None = None
    box: Box | None = None
    error: MienError | None = None

    def change(self, base: Mapping[str, float]) -> dict[str, float]:
        """How much each score differs from that of the prediction; empty with an error."""
        return {label: score - base[label] for label, score in self.scores.items()}

    def to_dict(self) -> CounterfactualDict:
        """Plain values for JSON."""
        same = self.scores_of_same_words
        return {
            "kind": self.kind,
            "what": self.what,
            "scores": dict(self.scores),
            "scores_of_same_words": None if same is None else dict(same),
            "description": self.description,
            "box": None if self.box is None else list(self.box.as_tuple()),
            "error": None if self.error is None else str(self.error),
        }


def answer(
    probe: ModelProbe,
    subject: Subject,
    regions: PhotoRegions | None,
    text: str | None,
    *,
    kinds: Sequence[CounterfactualKind],
    others: Mapping[int, Box],
    face: Box | None,
    descriptions: Sequence[str],
) -> tuple[Counterfactual, ...]:
    """The counterfactuals that the model can answer, in the order of `COUNTERFACTUAL_KINDS`.

    Args:
        probe: The model.
        subject: A person in a photo.
        regions: The photo; None if the model reads no image.
        text: The description of the person.
        kinds: The kinds to answer.
        others: The boxes of other people, by their numbers.
        face: Where the face is, if that is known.
        descriptions: Texts for the kind "description".
    """
    asked = _Questions(probe, subject, regions, text)
    found = [
        *(asked.without_an_input() if {"no_words", "no_image"} & set(kinds) else ()),
        *(asked.of_other_people(others) if {"other_box", "other_words"} & set(kinds) else ()),
        *asked.of_changed_photos(face, [kind for kind in kinds if kind.endswith("blurred")]),
        *(asked.with_text(given, "description", "this description") for given in descriptions),
    ]
    allowed = {*kinds, "description"}
    return tuple(item for item in found if item.kind in allowed)


class _Questions:
    """Asks the model what if."""

    def __init__(
        self, probe: ModelProbe, subject: Subject, regions: PhotoRegions | None, text: str | None
    ) -> None:
        self._probe, self._subject, self._regions, self._text = probe, subject, regions, text
        self._labels = probe.predictor.trained.label_set
        self._reads_both = probe.uses_image and probe.uses_text and text is not None

    def without_an_input(self) -> Iterator[Counterfactual]:
        """Without the words, and without the image; nothing is left of a model that reads only one."""
        if not self._reads_both or self._regions is None:
            return
        yield self.with_text(None, "no_words", "no description")
        scores = self._probe.scores_of_pixels([self._regions.blank()], self._probe.tokenize(self._text))
        yield Counterfactual(
            kind="no_image", what="no image", scores=self._named(scores[0]), description=self._text
        )

    def with_text(self, text: str | None, kind: CounterfactualKind, what: str) -> Counterfactual:
        image = None if self._regions is None else self._probe.encode(self._regions.pixels[None])
        scores = self._probe.scores(image, self._probe.tokenize(text))
        return Counterfactual(kind=kind, what=what, scores=self._named(scores[0]), description=text)

    def of_other_people(self, others: Mapping[int, Box]) -> Iterator[Counterfactual]:
        """The box on each other person, and then the words of each with the image as it is."""
        subjects = [
            Subject(id=f"{self._subject.id} {number}", images=self._subject.images, boxes=(box,))
            for number, box in others.items()
        ]
        names = [f"the box on person {number}" for number in others]
        found = self._read("other_box", names, subjects)
        yield from found
        for number, item in zip(others, found, strict=True):
            if self._reads_both and item.description is not None:
                yield self.with_text(item.description, "other_words", f"the words of person {number}")

    def of_changed_photos(
        self, face: Box | None, kinds: Sequence[CounterfactualKind]
    ) -> Iterator[Counterfactual]:
        """The face blurred, and the background blurred; both need a box."""
        (reference,), (box,) = self._subject.images, self._subject.boxes
        if box is None or not kinds:
            return
        loaded = load_image(reference)
        photo, inside = loaded.image, box.clip(*loaded.full_size)
        area, is_known = (face_area(inside), False) if face is None else (face.clip(*photo.size), True)
        changed = {
            "face_blurred": (
                "the face blurred" if is_known else "the head blurred, guessed from the box",
                _blur_inside(photo, area),
            ),
            "background_blurred": ("the background blurred", _blur_outside(photo, inside)),
        }
        for kind in kinds:
            what, pixels = changed[kind]
            image = ImageRef(path=reference.path, pixels=pixels)
            subject = Subject(id=f"{self._subject.id} {kind}", images=(image,), boxes=(box,))
            yield from self._read(kind, [what], [subject])

    def _read(
        self, kind: CounterfactualKind, names: Sequence[str], subjects: Sequence[Subject]
    ) -> list[Counterfactual]:
        """Both stages for changed subjects; an error is one of that item."""
        answers = self._probe.predict(subjects)
        return [
            self._reading(kind, what, subject, found)
            for what, subject, found in zip(names, subjects, answers, strict=True)
        ]

    def _reading(
        self, kind: CounterfactualKind, what: str, subject: Subject, found: Prediction | MienError
    ) -> Counterfactual:
        (box,) = subject.boxes
        if isinstance(found, MienError):
            return Counterfactual(kind=kind, what=what, box=box, error=found)
        return Counterfactual(
            kind=kind,
            what=what,
            scores=found.scores,
            scores_of_same_words=self._with_same_words(subject) if self._reads_both else None,
            description=None if found.description is None else found.description.text,
            box=box,
        )

    def _with_same_words(self, subject: Subject) -> dict[str, float]:
        vision = self._probe.predictor.vision
        assert vision is not None, "the model reads images"
        pixels = load_pixels(subject, self._probe.predictor.markings, vision.square)
        scores = self._probe.scores_of_pixels([pixels], self._probe.tokenize(self._text))
        return self._named(scores[0])

    def _named(self, scores: Sequence[float]) -> dict[str, float]:
        return self._labels.decode([float(score) for score in scores])


def face_area(box: Box) -> Box:
    """Where the head of a person is, guessed from the box of the body: the middle of its upper third."""
    margin = (1 - _FACE_WIDTH) / 2 * box.width
    return Box(
        left=box.left + margin,
        top=box.top,
        right=box.right - margin,
        bottom=box.top + _FACE_HEIGHT * box.height,
    )


def _blur_inside(photo: Image.Image, area: Box) -> Image.Image:
    """The photo with an ellipse blurred."""
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).ellipse(area.as_tuple(), fill=255)
    changed = photo.copy()
    changed.paste(blur(photo, _FACE_BLUR * max(area.width, area.height)), mask=mask)
    return changed


def _blur_outside(photo: Image.Image, box: Box) -> Image.Image:
    edges = (round(box.left), round(box.top), round(box.right), round(box.bottom))
    changed = blur(photo, _BACKGROUND_BLUR * max(photo.size))
    changed.paste(photo.crop(edges), edges[:2])
    return changed
