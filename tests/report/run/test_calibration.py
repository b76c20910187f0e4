"""The calibration section, the details by label, and the notice about repeated evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.factories.html_pages import read_page

from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.results.build import build_calibration_rows
from mien.evaluate.results.results import LabelRow, SplitAccess
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.report.run.calibration import calibration_section
from mien.report.run.page import write_report
from mien.report.run.tables import label_details, repeated_evaluations

PAIR = LabelSet(name="pair", labels=("Peace", "Fear"), exclusive=False)


def _scores(split: str, seed: int) -> SplitScores:
    rng = np.random.default_rng(seed)
    odds = rng.normal(size=(200, 2)) - 1
    targets = rng.random(odds.shape) < 1 / (1 + np.exp(-odds))
    targets[:, 1] &= split == "test"
    return SplitScores(
        split=split,
        label_set=PAIR,
        ids=tuple(map(str, range(200))),
        groups=tuple(map(str, range(200))),
        scores=(1 / (1 + np.exp(-3 * odds))).astype(np.float32),
        targets=targets.astype(np.float32),
    )


def test_the_section_describes_the_fit_and_its_effect() -> None:
    test, calibration = _scores("test", 1), fit_calibration(_scores("val", 0), rule="cost", cost=2.5)
    rows = build_calibration_rows(test, calibration, resamples=30)
    found = calibration_section(test, calibration, rows)
    assert (found.split, found.fitted_on, found.defaulted) == ("test", "val", ("Fear",))
    assert "a missed label costs as much as 2.5 false alarms" in found.rule
    assert [change.title.split()[0] for change in found.changes] == ["calibration", "Brier", "macro-averaged"]
    before, after = found.diagrams
    assert (before.title, after.title) == ("Uncalibrated", "Calibrated")
    for diagram in found.diagrams:
        assert all(0 <= value <= 100 for point in diagram.points for value in (point.left, point.top))
        assert len({point.left for point in diagram.points}) == len(diagram.points)
    (ece, *_) = rows
    assert found.changes[0].before == f"{ece.before:.3f}"
    assert ece.low is not None
    assert ece.high is not None
    assert found.changes[0].is_clear == (ece.low > 0 or ece.high < 0)


def test_empty_columns_are_left_out() -> None:
    row = LabelRow(
        label="Peace", split="test", value=0.5, low=None, high=None, prevalence=0.1, positives=3, auc=0.75
    )
    found = label_details([row])
    assert found.header == ("Label", "AP", "AUC", "Share", "Subjects")
    assert found.lines == (("Peace", "0.500", "0.750", "0.100", "3"),)


def test_only_repeated_evaluations_are_reported() -> None:
    once, often = SplitAccess(split="val", times=1, weights=1), SplitAccess(split="test", times=3, weights=2)
    assert repeated_evaluations([once]) == ()
    assert repeated_evaluations([once, often]) == (
        "Split test was scored 3 times by this run, with 2 different models.",
    )


def test_the_page_shows_calibration_thresholds_dimensions_and_repeated_evaluations(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    for words in (
        "Calibration and thresholds",
        "Fitted on split val, never on test",
        "logits are divided by",
        "thresholds are chosen for the highest F1",
        "calibration error (ECE)",
        "Valence, arousal, dominance",
        "All metrics by label",
        "AP interpolated",
        "as in scikit-learn",
        "test was scored 3 times by this run, with 2 different models",
    ):
        assert words in page.text, words
    squares = [attributes for tag, attributes in page.tags if attributes.get("class") == "square"]
    assert len(squares) == 2
    assert all("Observed share of positives" in (one["aria-label"] or "") for one in squares)
