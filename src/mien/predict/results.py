"""What a prediction returns: one `Results` per image, with one `Person` per subject."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, overload

from mien.errors import MienError, UsageError
from mien.media.views import load_image
from mien.types import Box, Description, ImageRef, Prediction

if TYPE_CHECKING:
    import pandas
    from PIL import Image

    from mien.media.images import LoadedImage
    from mien.predict.charts.chart import Chart, ChartKind
    from mien.predict.explain.explainer import ExplainOptions
    from mien.predict.explain.explanation import Explanation
    from mien.predict.explain.people import PersonExplainer

__all__ = [
    "NO_PERSON",
    "BoxSource",
    "ImageRow",
    "Person",
    "PersonDict",
    "PersonRow",
    "Results",
    "ResultsDict",
]

NO_PERSON: Final = "no person"  # the status of an image in which no one was found

# Where a box comes from: the caller gave it; there is none, and the whole image is the subject; a detector
# found the person; or it found a face, from which the body was guessed.
BoxSource = Literal["given", "whole", "detected", "face"]


class PersonDict(TypedDict):
    """`Person` as plain values.

    Attributes:
        person: The number of the person in the image, from 0.
        box: Left, top, right, bottom in pixels of the upright image; None if the whole image is the subject.
        error: Why the person has no prediction; None for a person who has one.
        hint: What to do about it; None without an error.
        valence: How pleasant the emotion appears, from 0 to 1; None if the model does not predict it.
        arousal: How excited the person appears, from 0 to 1; None if the model does not predict it.
        dominance: How much in control the person appears, from 0 to 1; None if the model does not predict it.
        sure: Whether the model is sure of the best label; None without calibration.
        description: What the vision-language model wrote; None if the model reads no text or did not answer.
    """

    person: int
    track: int | None
    box: list[float] | None
    box_source: BoxSource
    box_score: float | None
    status: str
    error: str | None
    hint: str | None
    scores: dict[str, float]
    above: list[str] | None
    valence: float | None
    arousal: float | None
    dominance: float | None
    bounded: list[str]
    sure: bool | None
    prediction_set: list[str] | None
    coverage: float | None
    description: str | None


class PersonRow(PersonDict):
    """A person in an image or in a frame of a video.

    Attributes:
        source: The path of the image or video, or its name if it was given as pixels.
        frame: The number of the frame in the video, from 0; None for images.
        time: The time of the frame in seconds; None for images.
    """

    source: str
    frame: int | None
    time: float | None


class ImageRow(TypedDict):
    """An image or a frame without people, or one that cannot be read.

    Attributes:
        source: The path of the image or video, or its name if it was given as pixels.
        frame: The number of the frame in the video, from 0; None for images.
        time: The time of the frame in seconds; None for images.
        status: "no person", or "failed".
        error: Why it cannot be read; None if it can.
        hint: What to do about it; None without an error.
    """

    source: str
    frame: int | None
    time: float | None
    status: str
    error: str | None
    hint: str | None


class ResultsDict(TypedDict):
    """`Results` as plain values.

    Attributes:
        people: One entry per person.
    """

    source: str
    frame: int | None
    time: float | None
    status: str
    error: str | None
    people: list[PersonDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """How one person in an image appears to feel.

    Attributes:
        id: The number of the person in the image, from 0.
        box: The box of the person in pixels of the upright image; None if the whole image is the subject.
        box_source: "given", "whole" (no box), "detected", or "face": a body guessed from a detected face.
        box_score: The confidence of the detector that found the person or face, from 0 to 1; else None.
        track: The number of the person across the frames of a video; None for images.
        prediction: Scores and description; None if this person could not be processed.
        error: Why the person has no prediction; None for a person who has one.
        explainer: What `explain` asks; None if the person was not predicted by this process.
    """

    id: int
    box: Box | None
    box_source: BoxSource
    box_score: float | None = None
    track: int | None = None
    prediction: Prediction | None = None
    error: MienError | None = None
    explainer: PersonExplainer | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        box = None if self.box is None else self.box.as_tuple()
        top = ", ".join(f"{label} {score:.2f}" for label, score in self.top(3))
        return f"Person(id={self.id}, box={box}, status={self.status!r}, top={top!r})"

    @property
    def status(self) -> str:
        """ "ok", "failed", or a word for what is missing, such as "no description"."""
        return "failed" if self.prediction is None else self.prediction.status

    @property
    def scores(self) -> Mapping[str, float]:
        """A score from 0 to 1 per label, in label set order; calibrated if the run was evaluated."""
        return {} if self.prediction is None else self.prediction.scores

    @property
    def dimensions(self) -> Mapping[str, float] | None:
        """Valence, arousal and dominance on a scale from 0 to 1; None if the model does not predict them."""
        return None if self.prediction is None else self.prediction.dimensions

    @property
    def bounded(self) -> tuple[str, ...]:
        """The dimensions for which the model's own value was outside of the scale."""
        return () if self.prediction is None else self.prediction.bounded

    @property
    def description(self) -> Description | None:
        """What the vision-language model wrote; None if the model reads no text or the description failed."""
        return None if self.prediction is None else self.prediction.description

    @property
    def above(self) -> tuple[str, ...] | None:
        """The labels that reach their decision thresholds, highest score first; None without thresholds."""
        if self.prediction is None or self.prediction.thresholds is None:
            return None
        return self.prediction.above(self.prediction.thresholds)

    @property
    def is_sure(self) -> bool | None:
        """Whether the model is sure of the best label; None without calibration. See `Prediction.is_sure`."""
        return None if self.prediction is None else self.prediction.is_sure

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """The labels that may hold, best first; None without calibration, and in videos.

        Of the people who have a label, the share `coverage` have it in their sets.
        """
        return None if self.prediction is None else self.prediction.prediction_set

    @property
    def coverage(self) -> float | None:
        """The stated coverage of the prediction set; None without one."""
        return None if self.prediction is None else self.prediction.coverage

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` highest (label, score) pairs, highest first."""
        return () if self.prediction is None else self.prediction.top(k)

    def explain(
        self,
        labels: Sequence[str] | None = None,
        *,
        options: ExplainOptions | None = None,
        before_batch: Callable[[], None] | None = None,
    ) -> Explanation:
        """Why this person has these scores: words, regions, attention, and what if.

        In a video it explains the scores of this frame alone, which are not smoothed.

        Args:
            labels: The labels to explain; by default the three with the highest scores.
            options: More choices.
            before_batch: Is called between batches that the model reads. What it raises ends
                the explanation.

        Raises:
            UsageError: The person has no prediction, or it was not made by a trained run in this process.
            UnknownNameError: No label has this name.
            DataError: The photo cannot be read any more.

        Example:
            >>> explanation = results[0].explain(["Happiness"])  # doctest: +SKIP
            >>> explanation.draw("Happiness").save("why.jpg")  # doctest: +SKIP
        """
        if self.explainer is None:
            raise UsageError(
                f"person {self.id} was not predicted by this process",
                hint="predict again, and explain the result",
            )
        return self.explainer.explain(self, labels, options, before_batch)

    def to_dict(self) -> PersonDict:
        """Plain values for JSON. Dimensions are on a scale from 0 to 1."""
        dimensions = self.dimensions or {}
        return {
            "person": self.id,
            "track": self.track,
            "box": None if self.box is None else list(self.box.as_tuple()),
            "box_source": self.box_source,
            "box_score": self.box_score,
            "status": self.status,
            "error": None if self.error is None else str(self.error),
            "hint": None if self.error is None else self.error.hint,
            "scores": dict(self.scores),
            "above": None if self.above is None else list(self.above),
            "valence": dimensions.get("valence"),
            "arousal": dimensions.get("arousal"),
            "dominance": dimensions.get("dominance"),
            "bounded": list(self.bounded),
            "sure": self.is_sure,
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            "coverage": self.coverage,
            "description": None if self.description is None else self.description.text,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(Sequence[Person]):
    """The people in one image, in the order of their boxes; a sequence of `Person`.

    Attributes:
        source: The path of the image, or its name if it was given as pixels.
        image: Where the pixels are.
        people: One `Person` per box.
        frame: The frame number if the image is a frame of a video, else None.
        time: The time of the frame in seconds, else None.
        error: Why the image could not be read; None if it could.

    Example:
        >>> results = predictor("photo.jpg", boxes=[(40, 30, 210, 380)])  # doctest: +SKIP
        >>> results[0].top(3)  # doctest: +SKIP
        (('Happiness', 0.93), ('Excitement', 0.79), ('Esteem', 0.44))
    """

    source: str
    image: ImageRef
    people: tuple[Person, ...] = ()
    frame: int | None = None
    time: float | None = None
    error: MienError | None = None

    def __repr__(self) -> str:
        return f"Results(source={self.source!r}, status={self.status!r}, people={list(self.people)})"

    @property
    def status(self) -> str:
        """ "ok"; "failed" if the image cannot be read or no person in it could be processed; "partial" if
        some could; "no person" if no one was found."""
        if self.error is None and not self.people:
            return NO_PERSON
        failed = sum(person.status == "failed" for person in self.people)
        if self.error is not None or (failed and failed == len(self.people)):
            return "failed"
        return "partial" if failed else "ok"

    @property
    def errors(self) -> tuple[MienError, ...]:
        """The error of the image and of each person that could not be processed."""
        errors = [self.error, *(person.error for person in self.people)]
        return tuple(error for error in errors if error is not None)

    @overload
    def __getitem__(self, index: int) -> Person: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Person, ...]: ...
    def __getitem__(self, index: int | slice) -> Person | tuple[Person, ...]:
        return self.people[index]

    def __len__(self) -> int:
        return len(self.people)

    def __iter__(self) -> Iterator[Person]:
        return iter(self.people)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per person; one with the status alone if there is none, and why."""
        if self.error is not None or not self.people:
            alone: ImageRow = {
                "source": self.source,
                "frame": self.frame,
                "time": self.time,
                "status": self.status,
                "error": None if self.error is None else str(self.error),
                "hint": None if self.error is None else self.error.hint,
            }
            return [dict(alone)]
        return [dict(self._row(person)) for person in self.people]

    def _row(self, person: Person) -> PersonRow:
        return {"source": self.source, "frame": self.frame, "time": self.time, **person.to_dict()}

    def to_dict(self) -> ResultsDict:
        """Plain values for JSON: the source, the status, and one entry per person in "people"."""
        return {
            "source": self.source,
            "frame": self.frame,
            "time": self.time,
            "status": self.status,
            "error": None if self.error is None else str(self.error),
            "people": [person.to_dict() for person in self.people],
        }

    def to_json(self) -> str:
        """`to_dict` as a JSON string."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_df(self) -> pandas.DataFrame:
        """One row per person and one column per label, for pandas.

        Raises:
            UsageError: pandas is not installed (`pip install "mien[pandas]"`).
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise UsageError("to_df needs pandas", hint='pip install "mien[pandas]"') from error
        rows = self.rows()
        for row in rows:
            row.update(row.pop("scores", {}))
        return pandas.DataFrame(rows)

    def annotate(self) -> Image.Image:
        """A copy of the image with the box, number and highest label of each person drawn on it.

        Images of less than 300 pixels are enlarged.
        """
        from mien.predict.annotate import annotate

        loaded = load_image(self.image)
        return annotate(loaded.image, self.placed(loaded))

    def placed(self, loaded: LoadedImage) -> tuple[Person, ...]:
        """The people with their boxes in pixels of the image that was loaded."""
        return tuple(replace(person, box=loaded.place(person.box)) for person in self.people)

    def save(self, path: str | Path) -> None:
        """Writes the annotated image to a file, as JPEG, PNG or WebP by its suffix.

        Raises:
            UsageError: The suffix is another one.
            DataError: The image cannot be read, or the file cannot be written.
        """
        from mien.predict.render import save_image

        save_image(self.annotate(), Path(path))

    def plot(
        self, kind: ChartKind = "bar", *, top: int = 8, frames: Iterable[Results] | None = None
    ) -> Chart:
        """A chart of the people, as SVG.

        Args:
            kind: "bar": the highest labels of each person. "radar": the same on common axes. "vad": valence
                and arousal as a plane, with dominance as size. "timeline": the scores of each person of a
                video over time.
            top: How many labels; a timeline has at most six.
            frames: For "timeline": the results of the frames of this video, in order. Those of other sources
                are passed over.

        Raises:
            UsageError: The kind is unknown, a timeline has no frames, or `top` is below 1.

        Example:
            >>> frames = list(predictor.stream("clip.mp4"))  # doctest: +SKIP
            >>> frames[0].plot("timeline", frames=frames).save("clip.svg")  # doctest: +SKIP
        """
        from mien.predict.charts.draw import draw_results

        return draw_results(self, kind, top=top, frames=frames)

    def _repr_html_(self) -> str:
        from mien.predict.render import results_html

        return results_html(self)
