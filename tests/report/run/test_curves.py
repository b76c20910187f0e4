"""Learning curves on a page and as a file: complete, readable, and well-formed with any text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.html_pages import read_page

from mien.cli import main
from mien.evaluate.results.learning_curve import learning_curves
from mien.evaluate.results.results import Difference, Evaluation, LabelRow, ResultRow, write_results
from mien.recipe import Recipe
from mien.report.run.curves import curve_section, render_curve, spread
from mien.report.run.page import CURVE, write_report
from mien.runs import Run

SIZES = (200, 400, 800, 1600, 3200, 6400)
SCORES = {
    "fused": (0.60, 0.65, 0.70, 0.75, 0.77, 0.79),
    "concat": (0.59, 0.65, 0.69, 0.74, 0.77, 0.78),
    "image_only": (0.58, 0.61, 0.66, 0.70, 0.73, 0.76),
    "text_only": (0.45, 0.53, 0.61, 0.74, 0.77, 0.78),
}


def _results(sizes: Sequence[int] = SIZES, names: Sequence[str] = tuple(SCORES)) -> Evaluation:
    """A curve of mAP with differences from the first model, and one of vad_mae without."""
    rows, differences = [], []
    for index, size in enumerate(sizes):
        values = [list(SCORES.values())[place % 4][index] for place in range(len(names))]
        for name, value in zip(names, values, strict=True):
            row = ResultRow(
                name=name, metric="mAP", split="test", value=value, low=value - 0.02, high=value + 0.01,
                chance=0.21, n=800, seeds=(0, 1, 2), train_size=size,
            )  # fmt: skip
            rows += [row, replace(row, metric="vad_mae", value=0.1, low=None, high=None, chance=0.15)]
        differences += [
            Difference(
                a=names[0], b=name, metric="mAP", split="test", value=values[0] - value,
                low=values[0] - value - 0.015, high=values[0] - value + 0.015, train_size=size,
            )
            for name, value in zip(names[1:], values[1:], strict=True)
        ]  # fmt: skip
    return Evaluation(rows=tuple(rows), differences=tuple(differences))


def _write_run(path: Path, results: Evaluation) -> Path:
    recipe = Recipe(name="curve")
    Run.create(path, command="ablate", recipe=recipe.to_json(), digest=recipe.digest())
    write_results(path / "results.json", results)
    return path


def _drawing(svg: str) -> ET.Element:
    return ET.fromstring(re.sub(' xmlns="[^"]+"', "", svg))  # noqa: S314 - our own file


def test_the_page_and_the_file_show_every_size_and_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = LabelRow(
        label="Joy", split="test", value=0.5, low=0.4, high=0.6, prevalence=0.3, positives=9, name="fused"
    )
    labels = tuple(replace(label, value=size / 10_000, train_size=size) for size in SIZES)
    run = _write_run(tmp_path / "run", replace(_results(), labels=labels))
    assert main(["report", str(run)]) == 0
    assert "curve.svg" in capsys.readouterr().out
    page = read_page(run / "report.html")
    for words in (
        "With 6,400 training images, on 800 subjects of split test, fused is best with mAP 0.790",
        "mean of 3 training seeds",
        "fused \u2212 text_only: fused is better with 200, 400 and 800; "
        "no clear difference with 1,600, 3,200 and 6,400 training images.",
        "by fused, trained on 6,400 images,",
        "0.790",
        "0.770 to 0.800",
        "+0.150",
    ):
        assert words in page.text
    assert "Conclusion" not in page.text  # the table of differences without sizes
    assert page.text.count("Joy") == 1
    assert [tag for tag, _ in page.tags].count("figure") == 2  # mAP and vad_mae
    # The file shows the metric with differences.
    drawing = _drawing((run / CURVE).read_text())
    assert drawing.findtext("title") == "mAP on test by the number of training images"
    groups = [group for group in drawing.iter("g") if "series" in group.get("class", "")]
    assert len(groups) == len(SCORES)
    for group in groups:
        assert len([line for line in group.iter("line") if line.get("class") == "path"]) == len(SIZES) - 1
        assert len([line for line in group.iter("line") if line.get("class") == "interval"]) == len(SIZES)
    texts = [text.text for text in drawing.iter("text")]
    assert [*SCORES] == [text for text in texts if text in SCORES]
    assert [text for text in texts if text and text.replace(",", "").isdigit()] == [
        f"{size:,}" for size in SIZES
    ]
    assert "chance" in texts
    assert len([line for line in drawing.iter("line") if line.get("class") == "chance"]) == 1


def test_positions_are_on_a_log_scale_and_higher_scores_are_higher() -> None:
    (curve, errors) = (curve_section(curve).figure for curve in learning_curves(_results()))
    fused, concat, *_ = curve.series
    steps = [right.left - left.left for left, right in pairwise(fused.markers)]
    assert steps == pytest.approx([18.0] * 5, abs=0.02)  # each size is twice the one before
    tops = [place.top for place in fused.markers]
    assert tops == sorted(tops, reverse=True)
    assert all((place.high or 0) < place.top < (place.low or 0) < curve.chance_top for place in fused.markers)
    assert (fused.number, fused.dash, concat.number, concat.dash) == (0, 0, 1, 1)
    assert fused.shift < concat.shift
    assert all(place.low is None for series in errors.series for place in series.markers)


def test_close_sizes_keep_their_lines_and_lose_their_numbers() -> None:
    (curve, _) = learning_curves(_results((1000, 1010, 1020, 1030, 5000, 9000)))
    assert [tick.text for tick in curve_section(curve).figure.sizes] == [
        "",
        "",
        "",
        "1,030",
        "5,000",
        "9,000",
    ]


def test_one_size_is_in_the_middle() -> None:
    (curve, _) = learning_curves(_results((400,)))
    figure = curve_section(curve).figure
    assert [place.left for series in figure.series for place in series.markers] == [50.0] * 4
    assert _drawing(render_curve(curve_section(curve)))


def test_many_models_have_different_styles() -> None:
    (curve, _) = learning_curves(_results(names=[f"model-{index}" for index in range(24)]))
    series = curve_section(curve).figure.series
    assert len({(one.number, one.dash) for one in series}) == 24
    tops = sorted(one.label_top for one in series)
    assert all(0 <= top <= 100 for top in tops)
    assert all(high - low > 4 for low, high in pairwise(tops))


def test_hostile_names_leave_page_and_file_well_formed(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        '"><g onload=x>',
        "nul\0 \x1b[31m \ud83d \uffff",
        "&amp; ]]> {{ 7 * 7 }}",
    ]
    run = _write_run(tmp_path / "run", _results(names=names))
    page = read_page(write_report(run))
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags
    assert not any("onload" in attributes for _, attributes in page.tags)
    drawing = _drawing((run / CURVE).read_text())
    assert not list(drawing.iter("script"))
    shown = [text.text or "" for text in drawing.iter("text") if "name" in text.get("class", "")]
    assert shown[0] == "<script>alert(1)<\u2026"  # long names are shortened
    assert shown[3].startswith("&amp; ]]>")


def test_a_run_without_sizes_has_no_curve(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    assert not [tag for tag, attributes in page.tags if attributes.get("class") == "curve"]
    assert not (demo_run / CURVE).exists()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_spread_labels_keep_their_order_and_their_distance(tops: list[float]) -> None:
    found = spread(tops)
    gap = min(5.0, 100 / max(1, len(tops) - 1))
    pairs = sorted(zip(tops, found, strict=True), key=lambda pair: (pair[0], pair[1]))
    places = [place for _, place in pairs]
    assert all(high - low >= gap - 0.02 for low, high in pairwise(places))
    assert min(places) >= -0.02
    assert max(places) <= 100
    if len(tops) == 1:
        assert found == [round(tops[0], 2)]
