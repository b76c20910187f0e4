"""Precision-recall curves by label: the points are scikit-learn's, and the page has a figure per label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve
from tests.factories.html_pages import read_page

from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.report.run.page import write_report
from mien.report.run.precision_recall import precision_recall_section

PAIR = LabelSet(name="three", labels=("Peace", "<b>Fear</b>", "Pain"), exclusive=False)


def _scores(rows: int = 40, digits: int = 1) -> SplitScores:
    rng = np.random.default_rng(0)
    targets = (rng.random((rows, 3)) < [0.3, 0.6, 0.0]).astype(np.float32)
    return SplitScores(
        split="test",
        label_set=PAIR,
        ids=tuple(map(str, range(rows))),
        groups=tuple(map(str, range(rows))),
        scores=np.round(0.3 * targets + 0.7 * rng.random((rows, 3)), digits).astype(np.float32),
        targets=targets,
    )


@pytest.mark.parametrize("digits", [1, 6], ids=["ties", "no ties"])
def test_points_are_those_of_scikit_learn(digits: int) -> None:
    scores = _scores(digits=digits)
    found = precision_recall_section(scores)
    assert found is not None
    assert [curve.label for curve in found.curves] == ["<b>Fear</b>", "Peace"]  # no one has the third
    precision, recall, _ = precision_recall_curve(scores.targets[:, 0], scores.scores[:, 0])
    expected = {
        (round(100 * float(one), 1), round(100 - 100 * float(other), 1))
        for other, one in zip(precision[:-1], recall[:-1], strict=True)
    }
    points = [
        tuple(float(number) for number in place.split())
        for place in found.curves[1].path.removeprefix("M").split("L")
    ]
    assert set(points) <= expected
    assert points[-1][0] == 100.0
    assert found.curves[1].share_top == pytest.approx(100 - 100 * scores.targets[:, 0].mean(), abs=0.01)
    assert found.curves[1].text.count("at recall") == 3


def test_long_curves_are_thinned_and_models_without_labels_have_none() -> None:
    scores = _scores(rows=2_000, digits=6)
    found = precision_recall_section(scores)
    assert found is not None
    assert all(curve.path.count("L") < 60 for curve in found.curves)
    assert precision_recall_section(replace(scores, has_labels=False)) is None


def test_the_page_has_a_figure_per_label(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    assert "Precision and recall by label" in page.text
    labels = [str(attributes.get("aria-label")) for _, attributes in page.tags]
    assert sum(": precision " in label for label in labels) > 10
