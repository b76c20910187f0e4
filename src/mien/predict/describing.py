"""Describes the people in images, with the same calls and results as a predictor, and scores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mien.describe.engine import Request
from mien.describe.prompts import resolve_prompt
from mien.describe.requests import DescriptionRequest, RequestBuilder
from mien.errors import DataError, MienError
from mien.labels import LabelSet
from mien.media.memory import image_bytes
from mien.media.views import OpenedPhoto
from mien.predict.base import SubjectPredictor, describe_prepared, load_batches
from mien.predict.detect.detector import Detector
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.description_scorer import WordsScorer
from mien.predict.zero_shot.likelihood import LikelihoodScorer
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.recipe.describe import DescribeOptions
from mien.recipe.run import DEFAULT_BATCH_SIZE
from mien.types import Description, Prediction, Subject

__all__ = ["DescribingPredictor", "describer_of"]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A subject's request, with the images that the engine gets."""

    request: DescriptionRequest
    prepared: Request

    @property
    def num_bytes(self) -> int:
        return sum(image_bytes(image.mode, *image.size) for image in self.prepared.images)


class DescribingPredictor(SubjectPredictor):
    """Describes people; its predictions have a description and no scores.

    Args:
        builder: Builds the requests to the describing engine.
        label_set: The labels that a prompt may list.
        detector: Finds the people where no boxes are given.
        batch_size: Subjects per batch.
    """

    def __init__(
        self,
        builder: RequestBuilder,
        label_set: LabelSet,
        *,
        detector: Detector | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        self.builder = builder
        self.detector = detector
        self._label_set = label_set
        self._batch_size = batch_size

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        """The described subject or its error, in order, with constant memory.

        Args:
            subjects: Subjects, from any iterable.
            batch_size: Subjects per batch; by default that of the constructor.
        """
        for batch in load_batches(subjects, self._load, batch_size=batch_size or self._batch_size):
            loaded = [item for item in batch if isinstance(item, _Prepared)]
            found = iter(describe_prepared(self.builder, [(item.request, item.prepared) for item in loaded]))
            for item in batch:
                yield self._answer(item, next(found)) if isinstance(item, _Prepared) else item

    def _load(self, subject: Subject, photo: OpenedPhoto) -> _Prepared | DataError:
        try:
            request = self.builder.build(subject)
            return _Prepared(request, self.builder.prepare(request, photo))
        except DataError as error:
            return error

    def _answer(self, item: _Prepared, found: Description | MienError) -> Prediction | MienError:
        if isinstance(found, MienError):
            return found
        return Prediction(
            subject_id=item.request.subject.id,
            label_set=self._label_set.name,
            scores={},
            description=found,
        )


def describer_of(predictor: SubjectPredictor) -> DescribingPredictor | None:
    """What describes people with the model, the prompt and the detector of a predictor.

    Returns:
        None if its model writes no descriptions: it reads no text, or only compares or rates labels.
    """
    if isinstance(predictor, Predictor) and predictor.text_stage is not None:
        recipe = predictor.trained.recipe
        return DescribingPredictor(
            predictor.text_stage.request_builder,
            predictor.trained.label_set,
            detector=predictor.detector,
            batch_size=recipe.run.fixed_batch_size,
        )
    if not isinstance(predictor, ZeroShotPredictor):
        return None
    scorer = predictor.scorer
    labels = scorer.labels.label_set
    if isinstance(scorer, WordsScorer):
        builder = scorer.request_builder
    elif isinstance(scorer, LikelihoodScorer):
        builder = RequestBuilder(
            engine=scorer.engine,
            prompt=resolve_prompt(DescribeOptions()),
            label_set=labels,
            marking=scorer.marking,
        )
    else:
        return None
    return DescribingPredictor(builder, labels, detector=predictor.detector)
