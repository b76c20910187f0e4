"""One model, rated against the union and against the majority of its annotators, by scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mien.evaluate.analysis.annotators import build_annotator_rows, with_truth
from mien.evaluate.results.results import Evaluation, read_results, write_results
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.types import Target

SET = LabelSet(name="three", labels=("calm", "tense", "weary"), exclusive=False)
NUM = 120


def scores_and_answers() -> tuple[SplitScores, dict[str, tuple[Target, ...]]]:
    rng = np.random.default_rng(3)
    chances = rng.random((NUM, 3)) * np.array([0.9, 0.5, 0.3])
    ids = tuple(f"person-{index}" for index in range(NUM))
    answers = {
        id: tuple(
            Target(
                labels={label: 1.0 for label, hit in zip(SET.labels, rng.random(3) < row, strict=True) if hit}
            )
            for _ in range(3)
        )
        for id, row in zip(ids, chances, strict=True)
    }
    noisy = np.clip(chances + rng.normal(0, 0.2, chances.shape), 0, 1).astype(np.float32)
    targets = np.zeros_like(noisy)
    scores = SplitScores(split="test", label_set=SET, ids=ids, groups=ids, scores=noisy, targets=targets)
    return scores, answers


def counts(answers: dict[str, tuple[Target, ...]]) -> np.ndarray:
    return np.array(
        [[sum(label in one.labels for one in given) for label in SET.labels] for given in answers.values()]
    )


def random_order(holds: np.ndarray) -> float:
    """The mean average precision of scores that say nothing."""
    rng = np.random.default_rng(5)
    return float(
        np.mean([average_precision_score(holds[:, i], rng.random(NUM)) for _ in range(200) for i in range(3)])
    )


def test_both_truths_are_stated_each_with_its_chance() -> None:
    scores, answers = scores_and_answers()
    rows = build_annotator_rows(scores, answers, name="model", metrics=["mAP"], resamples=50)
    found = {row.truth: row for row in rows}
    number = counts(answers)
    most = number.max(axis=1, keepdims=True)
    majority = np.where((number >= 2).any(axis=1, keepdims=True), number >= 2, (number == most) & (most > 0))
    for truth, holds in (("union", number >= 1), ("majority", majority)):
        expected = np.mean([average_precision_score(holds[:, i], scores.scores[:, i]) for i in range(3)])
        row = found[truth]
        assert row.value == pytest.approx(expected, abs=1e-6)
        assert row.low is not None
        assert row.high is not None
        assert row.low < row.value < row.high
        assert row.chance == pytest.approx(random_order(holds), abs=0.01)
        assert (row.n, row.annotators, row.labels, row.split) == (NUM, 3.0, 3, "test")
    assert found["union"].chance > found["majority"].chance + 0.1


def test_shares_are_targets_too() -> None:
    scores, answers = scores_and_answers()
    np.testing.assert_allclose(with_truth(scores, answers, "soft").targets, counts(answers) / 3, atol=1e-6)


def test_one_annotator_or_a_person_without_any_has_no_rows() -> None:
    scores, answers = scores_and_answers()
    single = {id: given[:1] for id, given in answers.items()}
    assert build_annotator_rows(scores, single, name="model") == ()
    assert build_annotator_rows(scores, {**answers, "person-3": ()}, name="model") == ()
    assert build_annotator_rows(scores, {}, name="model") == ()


def test_rows_survive_the_file(tmp_path: Path) -> None:
    scores, answers = scores_and_answers()
    rows = build_annotator_rows(scores, answers, name="model", metrics=["mAP"], resamples=20)
    file = tmp_path / "evaluation.json"
    write_results(file, Evaluation(annotators=rows))
    assert read_results(file).annotators == rows
