"""The section on several annotators: a column per way to combine them, each with its own chance level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.factories.html_pages import read_page

from mien.evaluate.results.breakdown_rows import AnnotatorRow
from mien.evaluate.results.results import EVALUATION, read_results, write_results
from mien.report.run.page import write_report
from mien.report.sections.annotators import annotator_section

UNION = AnnotatorRow(
    name="fused",
    metric="mAP",
    split="test",
    truth="union",
    value=0.41,
    low=0.40,
    high=0.42,
    chance=0.2,
    n=800,
    labels=26,
    annotators=3.25,
)
MAJORITY = replace(UNION, truth="majority", value=0.3, low=None, high=None, chance=0.1, labels=1)


def test_each_truth_has_its_score_interval_chance_and_labels() -> None:
    ranking = replace(UNION, metric="mRA", value=0.8, labels=None)
    section = annotator_section((UNION, MAJORITY, ranking), split="test")
    assert section is not None
    assert (section.name, section.split, section.annotators) == ("fused", "test", "3.25")
    assert section.truths == ("union", "majority")
    first, second = section.lines
    assert (first.metric, second.metric) == ("mAP", "mRA")
    union, majority = first.cells
    assert union is not None
    assert majority is not None
    assert (union.value, union.interval) == ("0.410", "0.400 to 0.420")
    assert (union.chance, union.labels) == ("chance 0.200", "26 labels")
    assert (majority.value, majority.labels) == ("0.300", "1 label")
    assert second.cells[1] is None
    assert second.cells[0] is not None
    assert second.cells[0].labels == ""


def test_rows_of_other_splits_and_models_are_not_shown() -> None:
    other = replace(UNION, split="val"), replace(UNION, name="image_only", metric="mRA")
    section = annotator_section((UNION, MAJORITY, *other), split="test")
    assert section is not None
    assert [line.metric for line in section.lines] == ["mAP"]
    assert annotator_section((UNION,), split="val") is None
    assert annotator_section((), split=None) is None


@pytest.mark.parametrize("has_several", [True, False])
def test_the_page_has_the_section_only_for_several_annotators(
    demo_run: Path, tmp_path: Path, has_several: bool
) -> None:
    for name in ("manifest.json", "evaluation.json", "scores-test.npz"):
        (tmp_path / name).write_bytes((demo_run / name).read_bytes())
    found = read_results(tmp_path / EVALUATION)
    assert {row.truth for row in found.annotators} == {"union", "majority"}
    hostile = replace(UNION, metric="<script>alert(1)</script>")
    rows = (*found.annotators, hostile) if has_several else ()
    write_results(tmp_path / EVALUATION, replace(found, annotators=rows))
    page = read_page(write_report(tmp_path))
    assert ("Union and majority of annotators" in page.text) is has_several
    for row in found.annotators:
        assert (f"chance {row.chance:.3f}" in page.text) is has_several
    assert "script" not in {tag for tag, _ in page.tags}
