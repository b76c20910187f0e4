"""Figures of valence, arousal and dominance: people in cells, few elements, and the same in words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.factories.html_pages import read_page

from mien.evaluate.results.build import build_dimension_rows
from mien.evaluate.results.results import Evaluation
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS
from mien.report.run.page import write_report
from mien.report.sections.dimensions import CELLS, dimension_section


def _scores(predicted: np.ndarray, annotated: np.ndarray) -> SplitScores:
    rows = len(predicted)
    return SplitScores(
        split="test",
        label_set=CAERS,
        ids=tuple(map(str, range(rows))),
        groups=tuple(map(str, range(rows))),
        scores=np.full((rows, 7), 1 / 7, dtype=np.float32),
        targets=np.eye(7, dtype=np.float32)[np.zeros(rows, dtype=int)],
        dimensions=predicted.astype(np.float32),
        dimension_targets=annotated.astype(np.float32),
        has_labels=False,
    )


def _cells(shades: tuple[str, ...]) -> dict[tuple[int, int], int]:
    """The shade of each cell, by column and row from the top."""
    found = {}
    for shade, path in enumerate(shades):
        for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
            for column in range(int(left), int(left) + int(width)):
                found[column, int(top)] = shade
    return found


def test_people_are_in_the_cell_of_annotation_and_prediction() -> None:
    annotated = np.array([[0.5, 0.2, 0.9]] * 100 + [[1.0, 0.2, np.nan]])
    predicted = np.array([[0.3, 0.2, 0.9]] * 100 + [[1.4, -0.2, 0.1]])
    scores = _scores(predicted, annotated)
    results = Evaluation(dimensions=build_dimension_rows([scores], resamples=20))
    section = dimension_section(results, scores)
    assert section is not None
    valence, arousal, dominance = section.agreement
    top = CELLS - 1
    # Annotated 0.5 is column 10, predicted 0.3 is 6 cells from below; 1.4 is drawn at 1.
    assert _cells(valence.shades) == {(10, top - 6): 4, (20, 0): 0}
    assert _cells(arousal.shades) == {(4, top - 4): 4, (4, top): 0}
    assert _cells(dominance.shades) == {(18, top - 18): 4}  # who was not annotated is not drawn
    assert section.bounded == "2 predictions outside of the scale"
    assert "annotated 0.4 to 0.6: predicted 0.30 on average" in valence.text
    as_annotated, as_predicted = section.planes
    assert _cells(as_annotated.shades)[10, top - 4] == 4
    assert "unpleasant and calm: 99%" in as_predicted.text


def test_thousands_of_people_are_a_few_elements() -> None:
    rng = np.random.default_rng(0)
    annotated = rng.random((7203, 3))
    scores = _scores(annotated + 0.1 * rng.normal(size=annotated.shape), annotated)
    section = dimension_section(Evaluation(dimensions=build_dimension_rows([scores], resamples=5)), scores)
    assert section is not None
    figures = (*section.agreement, *section.planes)
    assert len(figures) == 5
    assert sum(len(figure.shades) for figure in figures) == 25
    assert sum(len(path) for figure in figures for path in figure.shades) < 40_000


def test_numbers_are_those_of_the_results(demo_run: Path) -> None:
    text = read_page(write_report(demo_run)).text
    assert "The plane of valence and arousal" in text
    assert re.search(r"Valence error 0\.\d{3}, R2 0\.\d{3}; spread", text)


def test_without_dimensions_there_is_no_section() -> None:
    scores = _scores(np.full((4, 3), 0.5), np.full((4, 3), 0.5))
    without = replace(scores, dimensions=None, dimension_targets=None)
    assert dimension_section(Evaluation(), without) is None


def test_rows_of_an_earlier_run_are_shown_without_scores() -> None:
    scores = _scores(np.full((4, 3), 0.5), np.full((4, 3), 0.6))
    section = dimension_section(Evaluation(dimensions=build_dimension_rows([scores], resamples=5)), None)
    assert section is not None
    assert (section.agreement, section.planes, section.split) == ((), (), "")
    assert [line[1] for line in section.table.lines] == [pytest.approx("0.100")] * 3
