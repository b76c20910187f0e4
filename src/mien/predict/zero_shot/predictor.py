"""Predicts labels without training, with the same calls and results as a trained run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mien.digests import digest
from mien.errors import DataError, MienError, RunError
from mien.evaluate.calibration.calibrate import Calibration
from mien.media.views import OpenedPhoto
from mien.predict.base import SubjectPredictor, load_batches
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, ZeroShotScorer
from mien.recipe.run import DEFAULT_BATCH_SIZE
from mien.types import Prediction, Subject

__all__ = ["UNCALIBRATED", "ZeroShotPredictor"]

UNCALIBRATED = "uncalibrated"  # the status of scores that say which label fits better, not how likely it is


class ZeroShotPredictor(SubjectPredictor):
    """Scores labels with a `ZeroShotScorer`. Predictions have the status "uncalibrated" without calibration.

    Args:
        scorer: Scores the labels.
        calibration: Turns scores into probabilities; it must have been fitted to scores of this scorer.
        model: The model's name or folder.

    Raises:
        RunError: The calibration belongs to other labels or to another scorer.

    Example:
        >>> import mien
        >>> predictor = mien.Predictor.zero_shot(labels=["calm", "afraid"])  # doctest: +SKIP
        >>> predictor("photo.jpg")[0].top(1)  # doctest: +SKIP
        (('calm', 0.71),)
    """

    def __init__(
        self, scorer: ZeroShotScorer, *, calibration: Calibration | None = None, model: str = ""
    ) -> None:
        self.scorer = scorer
        self.calibration = calibration
        self.model = model
        if calibration is not None and calibration.labels != scorer.labels.label_set.labels:
            raise RunError(
                "the calibration has other labels, or in another order, than the predictor",
                hint="fit it to scores of this predictor",
            )
        if calibration is not None and calibration.model != self.model_digest:
            raise RunError(
                "the calibration was fitted to scores of another model, question or label definition",
                hint="fit it to scores of this predictor, or use its model, dtype and wording",
            )

    def __repr__(self) -> str:
        return f"ZeroShotPredictor({self.scorer.name!r}, labels={self.scorer.labels.label_set.name!r})"

    @property
    def model_digest(self) -> str:
        """A digest of the scorer's signature, by which a calibration names what it was fitted to."""
        return digest(dict(self.scorer.signature))

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        """The prediction or the error of each subject, in order, with constant memory.

        Args:
            subjects: Subjects, from any iterable.
            batch_size: Subjects that are loaded at a time, 8 by default. It changes no score.
        """
        size = batch_size or DEFAULT_BATCH_SIZE
        for batch in load_batches(subjects, self._load, batch_size=size):
            loaded = [item for item in batch if isinstance(item, ScorerInput)]
            scores = iter(self.scorer.score(loaded) if loaded else [])
            for item in batch:
                yield self._predict(item, next(scores)) if isinstance(item, ScorerInput) else item

    def _load(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput | DataError:
        try:
            return self.scorer.prepare(subject, photo)
        except DataError as error:
            return error

    def _predict(self, item: ScorerInput, found: LabelScores | MienError) -> Prediction | MienError:
        if isinstance(found, MienError):
            return found
        names, calibration = self.scorer.labels.label_set, self.calibration
        raw, scores = np.array([found.scores]), found.scores
        sets = None if calibration is None else calibration.name_sets(raw)
        if calibration is not None:
            scores = np.minimum(calibration.apply(raw), 1.0)[0].tolist()
        return Prediction(
            subject_id=item.subject.id,
            label_set=names.name,
            scores=names.decode(scores),
            description=found.description,
            status=UNCALIBRATED if calibration is None else "ok",
            thresholds=None if calibration is None else calibration.by_label(),
            min_confidence=None if calibration is None else calibration.min_confidence,
            prediction_set=None if sets is None else sets[0],
            coverage=None if calibration is None else calibration.coverage,
        )
