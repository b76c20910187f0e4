"""Calibration: never fitted on test, never worse on its own split, better on another; its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import ConfigError, DataError, RunError
from mien.evaluate.calibration.calibrate import CALIBRATION, Calibration, fit_calibration, read_calibration
from mien.evaluate.metrics.classification import ACCURACY
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.metrics.ranking import ranking_values
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.build import build_calibration_rows, build_label_rows
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS, EMOTIC, LabelSet

SMALL = LabelSet(name="small", labels=("Peace", "Fear", "Pain"), exclusive=False)


def scored(
    label_set: LabelSet, *, heat: float, seed: int = 0, rows: int = 400, split: str = "val"
) -> SplitScores:
    """A model whose logits are `heat` times too large."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(size=(rows, len(label_set))) * 1.5 - (0 if label_set.exclusive else 1.5)
    if label_set.exclusive:
        shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
        targets = np.eye(len(label_set))[[rng.choice(len(label_set), p=one) for one in shares]]
        powers = np.exp(heat * odds)
        scores = powers / powers.sum(axis=1, keepdims=True)
    else:
        targets = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)
        scores = 1 / (1 + np.exp(-heat * odds))
    return SplitScores(
        split=split,
        label_set=label_set,
        ids=tuple(str(row) for row in range(rows)),
        groups=tuple(str(row // 2) for row in range(rows)),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.float32),
    )


def loss_of(scores: np.ndarray, targets: np.ndarray, label_set: LabelSet) -> float:
    """Negative log-likelihood of 0/1 targets."""
    scores = np.clip(scores.astype(np.float64), 1e-30, 1 if label_set.exclusive else 1 - 2.0**-25)
    losses = -targets * np.log(scores)
    if not label_set.exclusive:
        losses -= (1 - targets) * np.log1p(-scores)
    return float(losses.sum() / (len(losses) if label_set.exclusive else losses.size))


@pytest.mark.parametrize("label_set", [EMOTIC, CAERS], ids=["multi", "exclusive"])
@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_is_how_overconfident_the_model_is(label_set: LabelSet, heat: float) -> None:
    val = scored(label_set, heat=heat, rows=1500)
    found = fit_calibration(val)
    assert found.temperature == pytest.approx(heat, rel=0.12)
    test = scored(label_set, heat=heat, seed=1, rows=1500, split="test")
    ece = resolve_metric("ECE", label_set)
    before, after = (ece.value(test.targets, one) for one in (test.scores, found.apply(test.scores)))
    assert after < before if heat != 1.0 else after < before + 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.05, 20),
    st.integers(0, 50),
    st.sampled_from([SMALL, CAERS]),
    st.sampled_from(["temperature", "platt"]),
)
def test_the_loss_on_its_own_split_never_rises(heat: float, seed: int, label_set: LabelSet, how: str) -> None:
    val = scored(label_set, heat=heat, seed=seed, rows=30)
    method = "temperature" if label_set.exclusive else how
    found = fit_calibration(val, method=method)  # type: ignore[arg-type]
    before, after = (loss_of(one, val.targets, label_set) for one in (val.scores, found.apply(val.scores)))
    assert after <= before + 1e-6
    assert (found.apply(val.scores) >= 0).all()
    assert (found.apply(val.scores) <= 1).all()
    assert min(found.slopes) > 0  # no ranking is reversed


def test_the_temperature_stays_at_one_if_nothing_is_better() -> None:
    # One score, right as often as stated: no other slope has a lower loss.
    targets = np.array([[1.0], [1.0], [1.0], [0.0]], dtype=np.float32)
    one = LabelSet(name="one", labels=("Peace",), exclusive=False)
    val = replace(
        scored(one, heat=1.0, rows=4), scores=np.full((4, 1), 0.75, dtype=np.float32), targets=targets
    )
    assert fit_calibration(val).temperature == pytest.approx(1.0, abs=1e-6)


def test_rankings_are_kept_and_exclusive_scores_sum_to_one() -> None:
    for how in ("temperature", "platt"):
        val = scored(EMOTIC, heat=2.0)
        calibrated = fit_calibration(val, method=how).apply(val.scores)
        before, after = (
            ranking_values(val.targets, scores, unit_weight(len(val))).average_precision
            for scores in (val.scores, calibrated)
        )
        np.testing.assert_allclose(after, before)
    one = scored(CAERS, heat=2.0)
    calibrated = fit_calibration(one).apply(one.scores)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)
    assert ACCURACY.value(one.targets, calibrated) == ACCURACY.value(one.targets, one.scores)


def test_scores_of_0_and_1_are_calibrated_too() -> None:
    val = scored(SMALL, heat=1.0)
    sure = replace(val, scores=val.targets)
    assert np.isfinite(fit_calibration(sure).apply(sure.scores)).all()
    wrong = replace(val, scores=1 - val.targets)
    found = fit_calibration(wrong)
    assert np.isfinite(found.apply(wrong.scores)).all()
    assert found.temperature == pytest.approx(20.0)  # the upper bound


@pytest.mark.parametrize("split", ["test", "train"])
def test_test_and_train_are_refused(split: str) -> None:
    with pytest.raises(DataError, match=f"fitted on split '{split}'"):
        fit_calibration(scored(EMOTIC, heat=1.0, split=split))


def test_labels_without_positives_get_the_default_threshold_and_are_named() -> None:
    val = scored(SMALL, heat=2.0)
    targets = val.targets.copy()
    targets[:, 1] = 0.0
    targets[:, 2] = np.arange(len(targets)) < 3
    found = fit_calibration(replace(val, targets=targets), method="platt")
    assert found.defaulted == ("Fear",)
    assert found.shared == ("Fear", "Pain")
    assert found.by_label() is not None
    assert dict(found.by_label() or {})["Fear"] == 0.5
    assert found.slopes[1] == found.slopes[2] != found.slopes[0]


def test_exclusive_sets_have_no_thresholds_and_no_platt_scaling() -> None:
    val = scored(CAERS, heat=2.0)
    assert fit_calibration(val).by_label() is None
    with pytest.raises(ConfigError, match="exactly one holds"):
        fit_calibration(val, method="platt")


def test_none_keeps_scores_and_has_thresholds() -> None:
    val = scored(EMOTIC, heat=2.0)
    found = fit_calibration(val, method="none")
    np.testing.assert_array_equal(found.apply(val.scores), val.scores)
    assert found.temperature is None
    assert len(found.by_label() or {}) == 26


def test_a_calibration_loads_as_saved(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    for label_set in (EMOTIC, CAERS):
        found = fit_calibration(scored(label_set, heat=2.0), rule="cost", cost=3.0, model="abc")
        found.save(tmp_path)
        assert read_calibration(tmp_path) == found
    values = json.loads((tmp_path / CALIBRATION).read_text())
    old = {"how": values["method"], **{name: value for name, value in values.items() if name != "method"}}
    assert Calibration.from_json(old) == found  # as mien 0.1 writes it
    assert values["temperature"] == pytest.approx(found.temperature)
    with pytest.raises(RunError, match="schema 2"):
        Calibration.from_json({**values, "schema": 2})
    with pytest.raises(RunError, match="lacks 'slopes'"):
        Calibration.from_json({name: value for name, value in values.items() if name != "slopes"})


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "null"])
def test_a_damaged_file_is_refused_with_a_hint(tmp_path: Path, text: str) -> None:
    (tmp_path / CALIBRATION).write_text(text)
    with pytest.raises(RunError) as caught:
        read_calibration(tmp_path)
    assert "mien evaluate" in caught.value.hint


def test_other_labels_are_refused() -> None:
    found = fit_calibration(scored(SMALL, heat=2.0))
    with pytest.raises(DataError, match="26 labels, and a calibration of 3"):
        found.apply(np.zeros((2, 26)))


def test_files_of_earlier_versions_load_without_sets(tmp_path: Path) -> None:
    found = fit_calibration(scored(SMALL, heat=2.0))
    new = ("min_confidence", "answered", "prediction_sets")
    old = {name: value for name, value in found.to_json().items() if name not in new}
    loaded = Calibration.from_json(old)
    assert loaded == replace(found, min_confidence=None, answered=None, prediction_sets=None)
    assert (loaded.coverage, loaded.set_note) == (None, "")
    assert loaded.name_sets(np.zeros((1, 3))) is None
    assert loaded.are_sure(np.zeros((2, 3))).all()


@pytest.mark.parametrize(
    "damage",
    [
        {"min_confidence": 1.5},
        {"prediction_sets": {}},
        {"prediction_sets": 3},
        {"prediction_sets": {"cuts": []}},
    ],
)
def test_damaged_sets_are_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    values = fit_calibration(scored(SMALL, heat=2.0)).to_json()
    (tmp_path / CALIBRATION).write_text(json.dumps({**values, **damage}))
    with pytest.raises(RunError, match="cannot be read"):
        read_calibration(tmp_path)


def test_the_stated_share_is_sure_and_sets_are_named_best_first() -> None:
    val = scored(CAERS, heat=2.0)
    found = fit_calibration(val, coverage=0.8, answered=0.3)
    calibrated = found.apply(val.scores)
    assert found.are_sure(calibrated).mean() == pytest.approx(0.3, abs=0.003)
    assert found.coverage == 0.8
    sets = found.name_sets(val.scores)
    assert sets is not None
    for row, names in enumerate(sets):
        expected = [CAERS.labels[label] for label in np.argsort(-calibrated[row], kind="stable")]
        assert list(names) == expected[: len(names)]
    truth = [CAERS.labels[label] for label in val.targets.argmax(axis=1)]
    assert np.mean([label in names for label, names in zip(truth, sets, strict=True)]) >= 0.8


def test_who_reaches_no_threshold_is_not_sure() -> None:
    val = scored(SMALL, heat=1.0)
    found = replace(fit_calibration(val), min_confidence=0.2, thresholds=(0.5, 0.9, 0.5))
    assert found.are_sure(np.array([[0.6, 0, 0], [0.1, 0.8, 0.4], [0.1, 0.1, 0.1]])).tolist() == [
        True,
        False,
        False,
    ]


def test_a_small_split_gets_a_note_instead_of_sets() -> None:
    few = fit_calibration(scored(CAERS, heat=1.0, rows=16))  # two people per image
    assert few.coverage is None
    assert few.name_sets(np.zeros((1, 7))) is None
    assert few.set_note == (
        "no prediction sets: a coverage of 90% needs 9 images with a label, and val has at most 8"
    )
    val = scored(SMALL, heat=1.0)
    targets = val.targets.copy()
    targets[:, 1] = np.arange(len(targets)) < 16
    rare = fit_calibration(replace(val, targets=targets))
    assert rare.coverage == 0.9
    assert rare.set_note.startswith("in every prediction set, because a coverage of 90% needs 9 images")
    assert rare.set_note.endswith("val has fewer: Fear")


def test_its_effect_is_measured_on_another_split() -> None:
    val, test = scored(EMOTIC, heat=3.0), scored(EMOTIC, heat=3.0, seed=1, split="test")
    found = fit_calibration(val)
    rows = {row.metric: row for row in build_calibration_rows(test, found, name="fused", resamples=60)}
    assert list(rows) == ["ECE", "Brier", "macro_f1"]
    for name in ("ECE", "Brier"):
        row = rows[name]
        assert row.after < row.before
        assert row.low is not None
        assert row.high is not None
        assert row.high < 0
        assert row.low <= row.after - row.before <= row.high
        assert (row.fitted_on, row.split, row.n) == ("val", "test", 400)
    assert rows["macro_f1"].after > rows["macro_f1"].before
    assert build_calibration_rows(val, found) == ()
    (one, *_) = build_calibration_rows(
        scored(CAERS, heat=3.0, split="test"), fit_calibration(scored(CAERS, heat=3.0))
    )
    assert one.metric == "ECE"


def test_label_rows_have_a_threshold_and_its_f1() -> None:
    val, test = scored(EMOTIC, heat=3.0), scored(EMOTIC, heat=3.0, seed=1, split="test")
    found = fit_calibration(val)
    rows = build_label_rows([test], calibration=found, resamples=30)
    assert [row.threshold for row in rows] == pytest.approx(list(found.thresholds or ()))
    assert np.mean([row.f1_at_threshold or 0 for row in rows]) > np.mean([row.f1 or 0 for row in rows])
    plain = build_label_rows([test], resamples=30)
    assert {row.threshold for row in plain} == {None}
    assert all(row.ap_emotic is not None and row.ap_emotic >= row.value for row in plain)
    assert all(row.n == 400 and row.auc is not None and row.auc > 0.5 for row in plain)
