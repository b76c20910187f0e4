"""The section on errors of labels: which thresholds count, a confusion matrix, pairs, and hostile names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.factories.chromium import chromium, open_page
from tests.report.conftest import make_demo_run

from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.metrics.metric_inputs import metric_value
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.report.run.page import write_report
from mien.report.sections.label_errors import label_error_section


def _scores(label_set: LabelSet, split: str = "test", rows: int = 400) -> SplitScores:
    rng = np.random.default_rng(len(split))
    hard = rng.random((rows, 1)) < 0.3  # people on whom many labels are wrong
    if label_set.exclusive:
        targets = np.eye(len(label_set))[rng.integers(len(label_set), size=rows)]
        odds = 2 * targets + rng.normal(size=targets.shape)
        scores = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    else:
        targets = (rng.random((rows, len(label_set))) < 0.3).astype(float)
        scores = np.clip(np.where(hard, 1 - targets, targets) * 0.6 + 0.3 * rng.random(targets.shape), 0, 1)
    return SplitScores(
        split=split,
        label_set=label_set,
        ids=tuple(map(str, range(rows))),
        groups=tuple(map(str, range(rows))),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.float32),
    )


def test_the_diagonal_of_the_matrix_is_the_accuracy() -> None:
    scores = _scores(CAERS)
    section = label_error_section(scores, None)
    assert section is not None
    assert section.matrix is not None
    right = sum(section.counts[index][index] for index in range(7))
    assert right / len(scores) == metric_value(resolve_metric("accuracy", CAERS), scores)
    shown = [[cell.count for cell in cells] for _, _, cells in section.matrix.lines]
    assert shown == [[str(count) for count in row] for row in section.counts]
    assert [[cell.is_right for cell in cells].index(True) for _, _, cells in section.matrix.lines] == list(
        range(7)
    )
    assert all(cell.shade == 0 for _, _, cells in section.matrix.lines for cell in cells if cell.count == "0")
    assert section.tables == ()


def test_a_matrix_of_many_labels_is_only_for_files() -> None:
    labels = LabelSet(name="many", labels=tuple(f"L{index}" for index in range(30)), exclusive=True)
    section = label_error_section(_scores(labels), None)
    assert section is not None
    assert section.matrix is None
    assert len(section.counts) == 30


def test_pairs_are_at_the_thresholds_of_the_run() -> None:
    scores = _scores(EMOTIC)
    calibration = fit_calibration(_scores(EMOTIC, "val"))
    at_half, fitted = label_error_section(scores, None), label_error_section(scores, calibration)
    assert at_half is not None
    assert fitted is not None
    assert (at_half.fitted_on, fitted.fitted_on) == ("", "val")
    truth, given = scores.targets >= 0.5, scores.scores >= 0.5
    assert at_half.missed == f"{(truth & ~given).sum():,} of {truth.sum():,}"
    assert at_half.given == f"{(~truth & given).sum():,}"
    assert fitted.missed != at_half.missed
    assert [table.caption for table in fitted.tables] == [
        "Given instead",
        "Missed together",
        "Falsely given together",
    ]
    line, pair = (
        fitted.tables[0].lines[0],
        next(pair for pair in fitted.pairs if pair.kind == "given instead"),
    )
    assert (line.first, line.second, line.count) == (pair.first, pair.second, str(pair.count))
    assert line.is_clear


def test_a_model_without_labels_has_no_section() -> None:
    assert label_error_section(replace(_scores(EMOTIC), has_labels=False), None) is None


def test_pairs_of_labels_fit_on_a_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is wider than the screen, and no label of EMOTIC breaks."""
    section = label_error_section(_scores(EMOTIC), None)
    assert section is not None
    long = replace(section.tables[0].lines[0], first="Doubt/Confusion", second="Embarrassment", is_clear=True)
    tables = tuple(replace(table, lines=(long, *table.lines), more=60) for table in section.tables)
    monkeypatch.setattr(
        "mien.report.run.page.label_error_section", lambda *_, **__: replace(section, tables=tables)
    )
    path = write_report(make_demo_run(tmp_path / "run", 12, (0,)))
    with chromium() as browser, open_page(browser, path, scripts=True, width=360) as (page, _):
        tables_shown = page.locator("table.pairs")
        assert tables_shown.count() == 3
        wide = tables_shown.evaluate_all("all => all.filter((e) => e.scrollWidth > e.clientWidth).length")
        assert wide == 0
        lines = tables_shown.locator(".user").evaluate_all(
            """cells => cells.map((cell) => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                return range.getClientRects().length;
            })"""
        )
        assert set(lines) == {1}
