"""What every predictor shares: images become subjects, subjects become batches, answers become results.

A subclass only says what it predicts of each subject. An item that fails is returned in its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from mien.describe.engine import Request
from mien.describe.requests import DescriptionRequest, RequestBuilder
from mien.describe.retry import describe_with_retries
from mien.errors import DataError, ImageError, MienError
from mien.media.views import OpenedPhoto
from mien.predict.results import Person, Results
from mien.predict.sources.image import BoxLike, ImageLike, Source, open_source
from mien.predict.sources.open import open_sources
from mien.types import Description, Prediction, Subject

__all__ = ["SubjectPredictor", "describe_prepared", "load_batches"]

_MAX_BATCH_BYTES: Final = 200_000_000  # of images at their full size


class SubjectPredictor(ABC):
    """Predicts how people in images appear to feel. A subclass implements `each`."""

    def __call__(self, image: ImageLike, *, boxes: Iterable[BoxLike] | None = None) -> Results:
        """How the people in one image appear to feel.

        Args:
            image: A path, a PIL image, or a uint8 array of shape (height, width, 3), RGB.
            boxes: (left, top, right, bottom) of each person, in pixels of the upright image. Without boxes
                the whole image is the subject.

        Returns:
            One `Person` per box, in the order of the boxes.

        Raises:
            ImageError: The image cannot be read.
            BoxError: A box is empty or lies outside of the image.
        """
        (results,) = self._stream([open_source(image, boxes)], batch_size=None)
        for error in results.errors:
            raise error
        return results

    def stream(
        self, sources: ImageLike | Iterable[object], *, batch_size: int | None = None
    ) -> Iterator[Results]:
        """The results of many images, in order, with constant memory.

        An image that cannot be read, and a box outside of its image, do not stop the others: they are
        returned in their place with status "failed" and the error.

        Args:
            sources: A path, a folder, a glob pattern, or an iterable of paths, PIL images, arrays, or pairs
                of one of these and its boxes.
            batch_size: People per batch; by default the predictor's own.

        Raises:
            DataError: A folder holds no image, or a pattern matches nothing.
            WeightsError: Weights that the predictor needs are not available.
        """
        return self._stream(open_sources(sources), batch_size=batch_size)

    def _stream(self, sources: Iterable[Source], *, batch_size: int | None) -> Iterator[Results]:
        opened = deque[Source]()
        predictions = self.each(_subjects(sources, opened), batch_size=batch_size)
        answers: list[Prediction | MienError] = []
        for answer in predictions:
            yield from _failed_sources(opened)
            answers.append(answer)
            if len(answers) == max(1, len(opened[0].boxes)):
                yield _results(opened.popleft(), answers)
                answers = []
        yield from _failed_sources(opened)

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


def _subjects(sources: Iterable[Source], opened: deque[Source]) -> Iterator[Subject]:
    """One subject per person; appends each source to `opened` before its first subject."""
    for source in sources:
        opened.append(source)
        if source.error is not None:
            continue
        for index, box in enumerate(source.boxes or (None,)):
            name = source.name if box is None else f"{source.name}#{index}"
            yield Subject(id=name, images=(source.image,), boxes=(box,))


def _failed_sources(opened: deque[Source]) -> Iterator[Results]:
    """Removes the sources with an error from the left, and returns their results."""
    while opened and opened[0].error is not None:
        source = opened.popleft()
        yield Results(source=source.name, image=source.image, error=source.error)


def _results(source: Source, answers: Sequence[Prediction | MienError]) -> Results:
    unreadable = next((answer for answer in answers if isinstance(answer, ImageError)), None)
    if unreadable is not None:
        return Results(source=source.name, image=source.image, error=unreadable)
    people = tuple(
        Person(
            id=index,
            box=box,
            box_source="whole" if box is None else "given",
            prediction=answer if isinstance(answer, Prediction) else None,
            error=answer if isinstance(answer, MienError) else None,
        )
        for index, (box, answer) in enumerate(zip(source.boxes or (None,), answers, strict=True))
    )
    return Results(source=source.name, image=source.image, people=people)
