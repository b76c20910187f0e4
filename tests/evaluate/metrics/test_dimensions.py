"""Errors and R2 of valence, arousal and dominance, and the emotion recognition score."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score
from tests.factories.metric_cases import multi_label_case

from mien.errors import DataError
from mien.evaluate.metrics.dimensions import EMOTION_RECOGNITION_SCORE, MEAN_R2, VAD_MAE
from mien.evaluate.metrics.ranking import MAP, MEAN_ROC_AUC


def test_vad_mae_omits_missing_annotations() -> None:
    values = np.array([[0.5, 0.5, 0.5], [0.2, 0.4, 0.6]])
    targets = np.array([[0.6, np.nan, 0.3], [np.nan, np.nan, np.nan]])
    assert VAD_MAE.value(targets, values) == pytest.approx((0.1 + 0.2) / 2)
    with pytest.raises(DataError, match="no sample has values of valence"):
        VAD_MAE.value(np.full((2, 3), np.nan), values)
    with pytest.raises(DataError, match="not finite"):
        VAD_MAE.value(targets, np.full((2, 3), np.nan))


def test_mr2_is_the_mean_of_scikit_learns_over_annotated_samples() -> None:
    rng = np.random.default_rng(5)
    values, targets = rng.random((50, 3)), rng.random((50, 3))
    targets[:10, 1] = np.nan
    expected = [r2_score(targets[:, 0], values[:, 0]), r2_score(targets[10:, 1], values[10:, 1])]
    targets[:, 2] = 0.4  # all agree: no spread to explain
    assert MEAN_R2.value(targets, values) == pytest.approx(np.mean(expected))
    assert MEAN_R2.value(targets, np.full((50, 3), np.nanmean(targets, axis=0))) == pytest.approx(0.0)


def test_mr2_without_any_spread_is_an_error() -> None:
    with pytest.raises(DataError, match="R2 is not defined"):
        MEAN_R2.value(np.full((4, 3), 0.3), np.zeros((4, 3)))


def test_ers_combines_its_parts_as_the_challenge_does() -> None:
    targets, scores = multi_label_case(6)
    rng = np.random.default_rng(7)
    values, dimensions = rng.random((len(scores), 3)), rng.random((len(scores), 3))
    found = EMOTION_RECOGNITION_SCORE.value(np.hstack((targets, dimensions)), np.hstack((scores, values)))
    ranked = (MAP.value(targets, scores) + MEAN_ROC_AUC.value(targets, scores)) / 2
    assert found == pytest.approx((MEAN_R2.value(dimensions, values) + ranked) / 2)
