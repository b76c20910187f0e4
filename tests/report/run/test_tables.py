"""Tables of scores, differences and labels."""

from __future__ import annotations

from dataclasses import replace

from mien.evaluate.results.results import Difference, LabelRow, ResultRow
from mien.report.run.tables import difference_tables, headline, label_table, score_tables

_ROW = ResultRow(
    name="fused",
    metric="mAP",
    split="test",
    value=0.5931,
    low=0.571,
    high=0.612,
    chance=0.1,
    n=1000,
    seeds=(0, 1, 2),
)
_DIFFERENCE = Difference(
    a="fused", b="image_only", metric="mAP", split="test", value=0.05, low=0.02, high=0.08
)


def test_rows_of_one_metric_and_split_share_a_table_and_an_axis() -> None:
    rows = [
        _ROW,
        replace(_ROW, name="other", value=0.61),
        replace(_ROW, split="val"),
        replace(_ROW, metric="vad_mae", value=0.1),
    ]
    first, val, vad = score_tables(rows)
    assert [line.name for line in first.lines] == ["fused", "other"]
    assert (val.split, vad.metric) == ("val", "vad_mae")
    assert [line.is_best for line in first.lines] == [False, True]
    line = first.lines[0]
    assert (line.value, line.interval, line.chance, line.subjects, line.seeds) == (
        "0.593",
        "0.571 to 0.612",
        "0.100",
        "1,000",
        "3",
    )
    assert line.whisker.low is not None
    assert line.whisker.high is not None
    assert line.chance_at < line.whisker.low < line.whisker.value < line.whisker.high


def test_a_lower_error_is_better() -> None:
    (table,) = score_tables(
        [replace(_ROW, metric="vad_mae", value=0.1), replace(_ROW, name="b", metric="vad_mae", value=0.2)]
    )
    assert [line.is_best for line in table.lines] == [True, False]
    assert table.direction == "lower is better"


def test_the_headline_names_the_best_model_with_interval_and_chance() -> None:
    (table,) = score_tables([replace(_ROW, name="worse", value=0.4), _ROW])
    assert headline(table, "95% interval") == (
        "On 1,000 subjects of split test, fused is best with mAP 0.593 (95% interval 0.571 to 0.612). "
        "Chance is 0.100."
    )


def test_a_conclusion_names_the_better_model_if_the_difference_is_clear() -> None:
    cases = {
        _DIFFERENCE: "fused is better: the interval excludes zero.",
        replace(
            _DIFFERENCE, value=-0.05, low=-0.08, high=-0.02
        ): "image_only is better: the interval excludes zero.",
        replace(_DIFFERENCE, low=-0.01): "No clear difference: the interval includes zero.",
        replace(_DIFFERENCE, low=0.0): "No clear difference: the interval includes zero.",
        replace(_DIFFERENCE, metric="vad_mae"): "image_only is better: the interval excludes zero.",
    }
    for difference, words in cases.items():
        (table,) = difference_tables([difference])
        assert table.lines[0].conclusion == words
        assert table.lines[0].is_clear is difference.excludes_zero
    (table,) = difference_tables([_DIFFERENCE])
    assert (table.lines[0].value, table.lines[0].interval) == ("+0.050", "+0.020 to +0.080")
    assert table.zero_at == 0


def test_labels_are_sorted_by_frequency() -> None:
    rare = LabelRow(label="Fear", split="test", value=0.4, low=None, high=None, prevalence=0.01, positives=3)
    common = LabelRow(
        label="Peace", split="test", value=0.7, low=0.6, high=0.8, prevalence=0.5, positives=150
    )
    table = label_table([rare, common], ("Fear", "Pain", "Peace"))
    assert [line.label for line in table.lines] == ["Peace", "Fear"]
    assert table.left_out == ("Pain",)
    assert (table.lines[0].whisker.value, table.lines[0].prevalence_at) == (70, 50)
    assert (table.lines[1].interval, table.lines[1].whisker.low) == ("too few subjects", None)
