"""What every predictor shares: images become subjects, subjects become batches, answers become results.

A subclass only says what it predicts of each subject. An item that fails is returned in its place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol, TypeVar

from mien.describe.engine import Request
from mien.describe.requests import DescriptionRequest, RequestBuilder
from mien.describe.retry import describe_with_retries
from mien.errors import DataError, ImageError, MienError
from mien.media.memory import image_bytes
from mien.media.views import OpenedPhoto
from mien.predict.explain.people import PersonExplainer
from mien.predict.people import FoundPeople, FoundPerson, find_people
from mien.predict.results import Person, Results
from mien.predict.sources.image import BoxLike, ImageLike, Source, open_source
from mien.predict.sources.open import SourceOptions, open_sources
from mien.predict.track.readings import Readings
from mien.predict.track.tracker import TrackOptions
from mien.types import Description, Prediction, Subject

if TYPE_CHECKING:
    from mien.predict.detect.detector import Detector

__all__ = ["Predicted", "SubjectPredictor", "describe_prepared", "load_batches"]

_MAX_BATCH_BYTES: Final = 200_000_000  # of images at their full size
_WAITING_IMAGES: Final = 64  # and no fewer than there are people in a batch
_ROUND: Final = 64  # people, or a few more, until no batch spans two images; a multiple of most batch sizes


class Predicted(NamedTuple):
    """A source and its results.

    Attributes:
        source: The source.
        results: Its results.
        ends_round: Whether no one in a later source shares a batch with anyone up to here. Batches that begin
            here are those of a run that went on, so scores are exactly equal.
    """

    source: Source
    results: Results
    ends_round: bool


class SubjectPredictor(ABC):
    """Predicts how people in images appear to feel. A subclass implements `each`.

    Attributes:
        detector: Finds the people where no boxes are given; None to take the whole image as the subject.
        tracking: How people are followed through videos.
        has_trained_model: Whether it is a `mien.predict.predictor.Predictor`, whose scores can be explained.
    """

    has_trained_model: ClassVar[bool] = False

    detector: Detector | None = None
    tracking: TrackOptions = TrackOptions()

    def __call__(self, image: ImageLike, *, boxes: Iterable[BoxLike] | None = None) -> Results:
        """How the people in one image appear to feel.

        Args:
            image: A path, a PIL image, or a uint8 array of shape (height, width, 3), RGB.
            boxes: (left, top, right, bottom) of each person, in pixels of the upright image. Without boxes
                the predictor's detector finds the people; without a detector the whole image is the subject.

        Returns:
            One `Person` per box, in the order of the boxes, or per person found, best detected first. If
            no one is found it is empty, and its status is "no person".

        Raises:
            ImageError: The image cannot be read.
            BoxError: A box is empty or lies outside of the image.
        """
        (results,) = self._stream([open_source(image, boxes)], batch_size=None)
        for error in results.errors:
            raise error
        return results

    def stream(
        self,
        sources: ImageLike | Iterable[object],
        *,
        batch_size: int | None = None,
        recursive: bool = False,
        fps: float | None = None,
        every: int | None = None,
    ) -> Iterator[Results]:
        """The results of many images and of the frames of videos, in order, with constant memory.

        An image that cannot be read, and a box outside of its image, do not stop the others: they are
        returned in their place with status "failed" and the error. So is a damaged frame of a video.

        Args:
            sources: A path of an image or video, a folder, a glob pattern, a list of paths (.txt), a manifest
                (.jsonl, .csv, .parquet, .json), "-" for paths from the standard input, or an iterable of
                these, PIL images, arrays, or pairs of one of these and its boxes.
            batch_size: People per batch; by default the predictor's own.
            recursive: Search folders with all folders in them.
            fps: Frames per second to take of a video; 5 by default.
            every: Take each n-th frame of a video instead.

        Raises:
            DataError: A folder holds no image, a pattern matches nothing, or there is no such file.
            WeightsError: Weights that the predictor needs are not available.
        """
        options = SourceOptions(recursive=recursive, fps=fps, every=every)
        return self._stream(open_sources(sources, options), batch_size=batch_size)

    def _stream(self, sources: Iterable[Source], *, batch_size: int | None) -> Iterator[Results]:
        for found in self.run(sources, batch_size=batch_size):
            yield found.results

    def run(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int | None = None,
        done: Iterable[Results] = (),
        keep_pixels: bool = False,
    ) -> Iterator[Predicted]:
        """`stream` of opened sources, to which results of an earlier run can be given.

        Args:
            sources: Images, frames and errors.
            batch_size: People per batch; by default the predictor's own.
            done: Results of the first sources, from an earlier run of this predictor. They are returned
                again, and their people keep their numbers and scores.
            keep_pixels: Return frames of videos with their pixels.

        Raises:
            DataError: `done` is of other sources.
        """
        found = find_people(sources, detector=self.detector, options=self.tracking, done=done)
        size = batch_size or 1
        queue = _Queue(
            found,
            max_images=max(_WAITING_IMAGES, size),
            max_people=size * math.ceil(_ROUND / size),
            keep_pixels=keep_pixels,
        )
        video, readings = None, Readings(self.tracking.time_constant)
        for item, answers, ends_round in queue.answered(partial(self.each, batch_size=batch_size)):
            if item.source.video != video:
                video, readings = item.source.video, Readings(self.tracking.time_constant)
            yield Predicted(item.source, _results(item, iter(answers), readings, self), ends_round)

    def predict(self, subjects: Iterable[Subject]) -> list[Prediction]:
        """A prediction for each subject, in order; raises the error of the first that cannot have one."""
        predictions = []
        for result in self.each(subjects):
            if isinstance(result, MienError):
                raise result
            predictions.append(result)
        return predictions

    @abstractmethod
    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        """The prediction or the error of each subject, in order, with constant memory.

        Args:
            subjects: Subjects, from any iterable.
            batch_size: Subjects per batch; by default the predictor's own.
        """


def describe_prepared(
    builder: RequestBuilder, requests: Sequence[tuple[DescriptionRequest, Request]]
) -> list[Description | MienError]:
    """The description of each request, in order, or in its place why there is none.

    Raises:
        EngineDownError: The engine cannot work at all.
    """
    outcomes = describe_with_retries(builder.engine, [prepared for _, prepared in requests])
    found: list[Description | MienError] = []
    for (request, _), outcome in zip(requests, outcomes, strict=True):
        result = builder.check(outcome.result)
        found.append(result if isinstance(result, MienError) else builder.description(request, result))
    return found


class _Loaded(Protocol):
    @property
    def num_bytes(self) -> int:
        """The memory of the images that were loaded."""


Loaded = TypeVar("Loaded", bound=_Loaded)


def load_batches(
    subjects: Iterable[Subject],
    load: Callable[[Subject, OpenedPhoto], Loaded | DataError],
    *,
    batch_size: int,
    choose_batch_size: Callable[[Loaded], int] | None = None,
) -> Iterator[list[Loaded | DataError]]:
    """Batches of what is loaded of each subject, or its error; smaller where the images are large.

    Args:
        subjects: Subjects, from any iterable.
        load: Loads a subject; two people in one photo get it decoded once.
        batch_size: Subjects per batch.
        choose_batch_size: The batch size from the first subject of a batch that was loaded.
    """
    batch: list[Loaded | DataError] = []
    num_bytes = 0
    photo = OpenedPhoto()  # for all stages, and for the next person in it
    for subject in subjects:
        loaded = load(subject, photo)
        if not isinstance(loaded, DataError):
            if choose_batch_size is not None and all(isinstance(earlier, DataError) for earlier in batch):
                batch_size = choose_batch_size(loaded)
            num_bytes += loaded.num_bytes
        batch.append(loaded)
        if len(batch) >= batch_size or num_bytes > _MAX_BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


# --- From people to results ----------------------------------------------------------------------------


_Answer = Prediction | MienError


class _Queue:
    """Images in order, from when people are found in them until all of these have an answer.

    Batches are of people: one begins with the last people of an image if they had no room in the one before,
    so that none is smaller than it could be. After every so many people a batch ends with an image, so that
    a later run can go on there with the batches of this one.

    Args:
        found: Images with the people in them.
        max_images: The most images that wait for an answer; many have no one to read in them.
        max_people: A batch ends with the image that has the last of so many people.
        keep_pixels: Whether frames keep their pixels where no one in them is to be read.
    """

    def __init__(
        self, found: Iterable[FoundPeople], *, max_images: int, max_people: int, keep_pixels: bool
    ) -> None:
        self._found = iter(found)
        self._max_images = max_images
        self._max_people = max_people
        self._keep_pixels = keep_pixels
        self._waiting: deque[FoundPeople] = deque()
        self._is_over = False
        self._is_round_over = False

    def answered(
        self, each: Callable[[Iterable[Subject]], Iterator[_Answer]]
    ) -> Iterator[tuple[FoundPeople, list[_Answer], bool]]:
        """Each image, the answers about the people who are to be read, and whether no batch goes on after it.

        Args:
            each: Answers in the order of the subjects, which it takes as it needs them.
        """
        answers: deque[_Answer] = deque()
        while not self._is_over:
            self._is_round_over = False
            for answer in each(self._subjects()):
                answers.append(answer)
                yield from self._complete(answers)
            yield from self._complete(answers)

    def _subjects(self) -> Iterator[Subject]:
        """Everyone who is to be read, until the images that wait must have their answers."""
        num_people = 0
        for item in self._found:
            has_pixels = self._keep_pixels or _count_due(item)
            self._waiting.append(item if has_pixels else replace(item, source=item.source.released()))
            num_people += _count_due(item)
            # Before they are taken: a full batch is answered before anyone asks for more.
            self._is_round_over = num_people >= self._max_people or self._must_answer()
            yield from _subjects_of(item)
            if self._is_round_over:
                return
        self._is_over = True

    def _must_answer(self) -> bool:
        pixels = [item.source.image.pixels for item in self._waiting]
        num_bytes = sum(0 if image is None else image_bytes("RGB", *image.size) for image in pixels)
        is_full = len(self._waiting) >= self._max_images or num_bytes > _MAX_BATCH_BYTES
        # An error is returned at once if nothing before it has to wait.
        return is_full or (bool(self._waiting) and not any(map(_count_due, self._waiting)))

    def _complete(self, answers: deque[_Answer]) -> Iterator[tuple[FoundPeople, list[_Answer], bool]]:
        """The first images that wait for no further answer."""
        while self._waiting and (count := _count_due(self._waiting[0])) <= len(answers):
            item, own = self._waiting.popleft(), [answers.popleft() for _ in range(count)]
            yield item, own, self._is_round_over and not self._waiting


def _count_due(item: FoundPeople) -> int:
    if item.done is not None or item.error is not None:
        return 0
    return sum(person.is_due for person in item.people)


def _subjects_of(item: FoundPeople) -> Iterator[Subject]:
    """One subject per person who is to be read."""
    if not _count_due(item):
        return
    source = item.source
    frame = "" if source.frame is None else f"@{source.frame}"
    for index, person in enumerate(item.people):
        if person.is_due:
            name = f"{source.name}{frame}" + ("" if person.box is None else f"#{index}")
            yield Subject(id=name, images=(source.image,), boxes=(person.box,))


def _results(
    item: FoundPeople,
    answers: Iterator[Prediction | MienError],
    readings: Readings,
    predictor: SubjectPredictor,
) -> Results:
    source = item.source
    about = Results(
        source=source.name,
        image=source.released().image,
        frame=source.frame,
        time=source.time,
        error=item.error,
    )
    boxes = {index: person.box for index, person in enumerate(item.people)}
    explainer = PersonExplainer(predictor, about.image, boxes)
    if item.done is not None:
        _restore(item, item.done, readings)
        people = tuple(replace(person, explainer=explainer) for person in item.done.people)
        return replace(item.done, image=about.image, people=people)
    if item.error is not None:
        return about
    read = [_answer(person, source, answers, readings) for person in item.people]
    readings.keep(item.tracks)
    unreadable = next((answer for answer in read if isinstance(answer, ImageError)), None)
    if unreadable is not None and source.video is None:
        return replace(about, error=unreadable)
    people = tuple(
        Person(
            id=index,
            track=person.track,
            box=person.box,
            box_source=person.box_source,
            box_score=person.box_score,
            prediction=answer if isinstance(answer, Prediction) else None,
            error=answer if isinstance(answer, MienError) else None,
            explainer=explainer,
        )
        for index, (person, answer) in enumerate(zip(item.people, read, strict=True))
    )
    return replace(about, people=people)


def _answer(
    person: FoundPerson, source: Source, answers: Iterator[Prediction | MienError], readings: Readings
) -> Prediction | MienError:
    if person.track is None or source.time is None:
        return next(answers)
    if person.is_due:
        return readings.read(person.track, source.time, next(answers))
    return readings.last(person.track)


def _restore(item: FoundPeople, done: Results, readings: Readings) -> None:
    """Takes over the people of an earlier run, so that the next frames go on as they would have then."""
    for person, earlier in zip(item.people, done.people, strict=True):
        answer = earlier.prediction or earlier.error
        if person.is_due and person.track is not None and item.source.time is not None and answer is not None:
            readings.restore(person.track, item.source.time, answer)
    if item.error is None and item.source.video is not None:
        readings.keep(item.tracks)
