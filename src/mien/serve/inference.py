"""What the model's thread does: uploads become images, people in them are found, described and scored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from PIL import Image

from mien.errors import DataError, UnknownNameError, UsageError
from mien.evaluate.calibration.calibrate import Calibration
from mien.media.images import load_image_bytes
from mien.predict.base import SubjectPredictor
from mien.predict.describing import describer_of
from mien.predict.explain.counterfactuals import COUNTERFACTUAL_KINDS
from mien.predict.explain.explainer import ExplainOptions
from mien.predict.predictor import Predictor
from mien.predict.results import Person, Results
from mien.predict.sources.image import Source
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.serve.batching import Job, deadline_error
from mien.serve.errors import RequestError, as_request_error, public
from mien.serve.schemas import (
    DescribedImage,
    ExplainAnswer,
    ExplainRequest,
    ModelCard,
    PredictedImage,
    PredictedPerson,
)
from mien.serve.uploads import Upload
from mien.types import Box, ImageRef

__all__ = ["ExplainWork", "ServedModel"]

_WARM_UP_SIZE: Final = (320, 240)
_WARM_UP_BOX: Final = Box(left=80, top=20, right=240, bottom=230)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainWork:
    """An image, and what to explain about whom."""

    upload: Upload
    request: ExplainRequest


class ServedModel:
    """A predictor and what else it can do; only for one thread.

    Args:
        predictor: Predicts, with its detector.
        name: What clients call it.
        max_pixels: The most pixels of an image.
        is_embedded: Whether it knows only Playhouse.
    """

    def __init__(
        self, predictor: SubjectPredictor, *, name: str, max_pixels: int, is_embedded: bool = False
    ) -> None:
        self.name = name
        self._predictor = predictor
        self._describer = describer_of(predictor)
        self._max_pixels = max_pixels
        self._is_embedded = is_embedded

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What it can do: "predict", "describe", "explain"."""
        found = ["predict"]
        if self._describer is not None:
            found.append("describe")
        if self._predictor.has_trained_model:
            found.append("explain")
        return tuple(found)

    @property
    def calibration(self) -> Calibration | None:
        """What makes the scores probabilities, with thresholds."""
        return cast("Predictor | ZeroShotPredictor", self._predictor).calibration

    @property
    def card(self) -> ModelCard:
        """What clients may know about it."""
        predictor = self._predictor
        if isinstance(predictor, ZeroShotPredictor):
            labels = predictor.scorer.labels.label_set
        else:
            labels = cast("Predictor", predictor).trained.label_set
        return ModelCard(
            id=self.name,
            kind="trained" if predictor.has_trained_model else "zero_shot",
            label_set=labels.name,
            labels=list(labels.labels),
            exclusive=labels.exclusive,
            calibrated=self.calibration is not None,
            embedded=self._is_embedded,
            detector=None if predictor.detector is None else predictor.detector.name,
            endpoints=list(self.endpoints),
        )

    def warm_up(self) -> None:
        """Loads all weights by reading a gray image in each way; raises what makes the model unusable."""
        image = ImageRef(path=Path("warm-up"), pixels=Image.new("RGB", _WARM_UP_SIZE, "gray"))
        sources = [Source(image=image, boxes=(_WARM_UP_BOX,)), Source(image=image)]
        for predictor in (self._predictor, self._describer):
            if predictor is not None:
                for _ in predictor.run(sources):
                    pass

    def run(self, kind: str, jobs: Sequence[Job]) -> None:
        """Answers jobs of one kind."""
        if kind == "explain":
            for job in jobs:
                try:
                    job.answer(self._explain(job))
                except RequestError as error:  # the request is wrong or over, and not the model
                    job.fail(error)
        elif kind == "describe":
            assert self._describer is not None
            self._read(self._describer, jobs, DescribedImage)
        else:
            self._read(self._predictor, jobs, PredictedImage)

    def _read(
        self,
        predictor: SubjectPredictor,
        jobs: Sequence[Job],
        answer: type[PredictedImage] | type[DescribedImage],
    ) -> None:
        """Reads the images of all jobs as one stream, and answers each job once its last one is read."""
        notes: dict[tuple[int, int], tuple[str, ...]] = {}
        places = [(number, index) for number, job in enumerate(jobs) for index in range(job.size)]

        def sources() -> Iterator[Source]:
            for number, index in places:
                job = jobs[number]
                if job.is_over:  # while the images before were read
                    yield _unread(index)
                    continue
                source, notes[number, index] = open_upload(job.payload[index], index, self._max_pixels)
                yield source

        found: dict[int, list[PredictedImage | DescribedImage]] = {}
        results = predictor.run(sources())
        for (number, index), predicted in zip(places, results, strict=True):
            images = found.setdefault(number, [])
            images.append(answer.of(index, predicted.results, notes.pop((number, index), ())))
            job = jobs[number]
            if len(images) == job.size:
                if time.monotonic() > job.deadline:
                    job.fail(deadline_error())
                job.answer(found.pop(number))

    def _explain(self, job: Job) -> ExplainAnswer:
        """Explains, and ends between two batches when no one waits for it any more."""
        work: ExplainWork = job.payload
        request = work.request
        source, _ = open_upload(work.upload, 0, self._max_pixels)
        (predicted,) = self._predictor.run([source])
        results = predicted.results
        person = _chosen(results, request.person)
        options = ExplainOptions(
            labels=tuple(request.labels),
            top=request.top,
            cells=request.cells,
            counterfactuals=COUNTERFACTUAL_KINDS if request.counterfactuals else (),
            descriptions=tuple(request.descriptions),
            random_orders=request.random_orders,
        )
        try:
            explained = person.explain(options=options, before_batch=job.require_open)
        except UsageError as error:
            raise as_request_error(
                error, "labels" if isinstance(error, UnknownNameError) else None
            ) from error
        explanation = explained.to_dict()
        for item, values in zip(explained.counterfactuals, explanation["counterfactuals"], strict=True):
            values["error"] = None if item.error is None else str(public(item.error))
        pixels = results.image.pixels
        assert pixels is not None
        return ExplainAnswer(
            model=self.name,
            label_set=self.card.label_set,
            width=pixels.width,
            height=pixels.height,
            person=PredictedPerson.of(person),
            explanation=explanation,  # pydantic leaves out `source`, which is not a key of the answer
        )


def open_upload(upload: Upload, index: int, max_pixels: int) -> tuple[Source, tuple[str, ...]]:
    """The image of an upload or why it cannot be read, and what the user should know about it.

    Its name in messages is its place in the request, which is never opened as a path.
    """
    name = f"images[{index}]"
    try:
        loaded = load_image_bytes(name, upload.content, max_pixels=max_pixels)
    except DataError as error:
        return Source(image=ImageRef(path=Path(name)), error=error), ()
    return Source(image=ImageRef(path=Path(name), pixels=loaded.image), boxes=upload.boxes), loaded.notes


def _unread(index: int) -> Source:
    return Source(image=ImageRef(path=Path(f"images[{index}]")), error=deadline_error())


def _chosen(results: Results, number: int) -> Person:
    """The person to explain.

    Raises:
        RequestError: The number is too high, or the person has no prediction.
    """
    if results.error is not None:
        raise as_request_error(results.error, "images.0")
    if number >= len(results):
        raise RequestError(
            422,
            "invalid_request",
            f"no person {number} among {len(results)} in the image",
            hint="people are numbered from 0; see /v1/predict, or give their boxes",
            field="person",
        )
    person = results[number]
    if person.error is not None:
        raise as_request_error(person.error, f"boxes.0.{number}")
    return person
