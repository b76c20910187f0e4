"""Scores without training are evaluated and calibrated like those of a trained run."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mien.data.playhouse import Playhouse
from mien.describe.local.engine import LocalEngine
from mien.errors import DataError, MienError, RunError
from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.scores import SplitScores
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.predict.zero_shot.split_scores import collect_scores
from mien.recipe import DataOptions
from mien.types import Sample, Subject


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Twelve people of the validation split."""
    scenes = Playhouse(DataOptions(), tmp_path_factory.mktemp("playhouse"))
    return list(islice(scenes.samples("val"), 12))


def score_samples(
    predictor: ZeroShotPredictor, samples: list[Sample]
) -> tuple[SplitScores, Mapping[str, MienError]]:
    answers = predictor.each(sample.subject for sample in samples)
    found = [one if isinstance(one, MienError) else list(one.scores.values()) for one in answers]
    return collect_scores("val", samples, found, predictor.scorer.labels.label_set)


def test_a_calibration_is_fitted_to_a_split_and_belongs_to_its_predictor(
    samples: list[Sample], embedded: LocalEngine
) -> None:
    plain = Predictor.zero_shot(labels="emotic", engine=embedded)
    missing = replace(samples[0], subject=Subject.still("missing", Path("missing.png")))
    scores, errors = score_samples(plain, [missing, *samples])
    assert errors.keys() == {"missing"}
    assert scores.ids == tuple(sample.subject.id for sample in samples)
    predictions = plain.predict(sample.subject for sample in samples)
    np.testing.assert_allclose(scores.scores, [list(one.scores.values()) for one in predictions], rtol=1e-6)

    calibration = fit_calibration(scores, method="platt", model=plain.model_digest)
    calibrated = Predictor.zero_shot(labels="emotic", engine=embedded, calibration=calibration)
    found = calibrated.predict(sample.subject for sample in samples)
    expected = calibration.apply(scores.scores)
    np.testing.assert_allclose([list(one.scores.values()) for one in found], expected, atol=1e-6)
    assert {one.status for one in found} == {"ok"}
    assert found[0].thresholds == calibration.by_label()
    with pytest.raises(RunError, match="another model, question or label definition"):
        Predictor.zero_shot(labels="emotic", engine=embedded, answer="label", calibration=calibration)


def test_a_split_of_which_nothing_can_be_scored_is_an_error(
    samples: list[Sample], bad: list[Subject], embedded: LocalEngine
) -> None:
    predictor = Predictor.zero_shot(labels="emotic", engine=embedded)
    with pytest.raises(DataError, match=r"could be scored: .*missing"):
        score_samples(predictor, [replace(samples[0], subject=bad[0])])
