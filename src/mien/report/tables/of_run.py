"""All tables of the page of a run, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mien.evaluate.results.breakdown_rows import AnnotatorRow, GroupRow
from mien.evaluate.results.results import (
    AbstentionRow,
    CalibrationRow,
    Difference,
    DimensionRow,
    Evaluation,
    LabelRow,
    ResultRow,
    SetRow,
)
from mien.report.run.contents import RunContents
from mien.report.sections.label_errors import LabelErrorSection, label_error_section
from mien.report.sections.provenance import provenance_section
from mien.report.tables.table import Column, Field, Table, build_table

__all__ = ["difference_table", "run_tables", "score_table"]

_INTERVAL: Final = Column(name="95% interval", kind="interval")

_SCORE: Final[tuple[Field[ResultRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Metric"), lambda row: row.metric),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Score", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Chance", kind="number"), lambda row: row.chance),
    (Column(name="Subjects", kind="count"), lambda row: row.n),
    (Column(name="Seeds", kind="count"), lambda row: len(row.seeds)),
)
_DIFFERENCE: Final[tuple[Field[Difference], ...]] = (
    (Column(name="First"), lambda row: row.a),
    (Column(name="Second"), lambda row: row.b),
    (Column(name="Metric"), lambda row: row.metric),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="First minus second", kind="number", signed=True), lambda row: row.value),
    (Column(name="95% interval", kind="interval", signed=True), lambda row: (row.low, row.high)),
    (Column(name="Clear"), lambda row: _yes(row.excludes_zero)),
)
_TRAIN_SIZE: Final = Column(name="Training images", kind="count")
_DIMENSION: Final[tuple[Field[DimensionRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Dimension"), lambda row: row.dimension),
    (Column(name="Error", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Chance", kind="number"), lambda row: row.chance),
    (Column(name="R2", kind="number"), lambda row: row.r2),
    (Column(name="Subjects", kind="count"), lambda row: row.n),
)
_CALIBRATION: Final[tuple[Field[CalibrationRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Metric"), lambda row: row.metric),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Fitted on"), lambda row: row.fitted_on),
    (Column(name="Before", kind="number"), lambda row: row.before),
    (Column(name="After", kind="number"), lambda row: row.after),
    (
        Column(name="95% interval of the change", kind="interval", signed=True),
        lambda row: (row.low, row.high),
    ),
    (Column(name="Subjects", kind="count"), lambda row: row.n),
)
_ABSTENTION: Final[tuple[Field[AbstentionRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Answered", kind="number", digits=2), lambda row: row.answered),
    (Column(name="People", kind="count"), lambda row: row.n),
    (Column(name="Accuracy", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="More than for everyone", kind="number", signed=True), lambda row: row.gain),
    (
        Column(name="95% interval of the gain", kind="interval", signed=True),
        lambda row: (row.gain_low, row.gain_high),
    ),
    (Column(name="Score from", kind="number"), lambda row: row.min_confidence),
    (Column(name="Fitted on"), lambda row: row.fitted_on or None),
)
_PREDICTION_SETS: Final[tuple[Field[SetRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Fitted on"), lambda row: row.fitted_on),
    (Column(name="Stated coverage", kind="number", digits=2), lambda row: row.coverage),
    (Column(name="Found", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Expected", kind="interval"), lambda row: (row.likely_low, row.likely_high)),
    (Column(name="Labels in a set", kind="number", digits=1), lambda row: row.size),
    (Column(name="One label", kind="number", digits=2), lambda row: row.single),
    (Column(name="All labels of a person", kind="number", digits=2), lambda row: row.complete),
    (Column(name="Subjects", kind="count"), lambda row: row.n),
)
_ANNOTATORS: Final[tuple[Field[AnnotatorRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Metric"), lambda row: row.metric),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Rated against"), lambda row: row.truth),
    (Column(name="Score", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Chance", kind="number"), lambda row: row.chance),
    (Column(name="Labels", kind="count"), lambda row: row.labels),
    (Column(name="Subjects", kind="count"), lambda row: row.n),
    (Column(name="Annotators per subject", kind="number", digits=1), lambda row: row.annotators),
)
_GROUP: Final[tuple[Field[GroupRow], ...]] = (
    (Column(name="Model"), lambda row: row.name),
    (Column(name="Split"), lambda row: row.split),
    (Column(name="Attribute"), lambda row: row.attribute),
    (Column(name="Group"), lambda row: row.group),
    (Column(name="Metric"), lambda row: row.metric),
    (Column(name="Score", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Chance", kind="number"), lambda row: row.chance),
    (Column(name="People", kind="count"), lambda row: row.n),
    (Column(name="Images", kind="count"), lambda row: row.images),
    (Column(name="Compared with"), lambda row: row.compared_with or None),
    (Column(name="Difference", kind="number", signed=True), lambda row: row.difference),
    (
        Column(name="95% interval of the difference", kind="interval", signed=True),
        lambda row: (row.difference_low, row.difference_high),
    ),
)
_LABEL: Final[tuple[Field[LabelRow], ...]] = (
    (Column(name="Label"), lambda row: row.label),
    (Column(name="AP", kind="number"), lambda row: row.value),
    (_INTERVAL, lambda row: (row.low, row.high)),
    (Column(name="Share", kind="number"), lambda row: row.prevalence),
)
# Columns that are left out if no label has a value.
_OPTIONAL_OF_LABEL: Final[tuple[tuple[str, Callable[[LabelRow], float | None]], ...]] = (
    ("AP interpolated", lambda row: row.ap_emotic),
    ("AUC", lambda row: row.auc),
    ("F1", lambda row: row.f1),
    ("Threshold", lambda row: row.threshold),
    ("F1 at threshold", lambda row: row.f1_at_threshold),
)


def run_tables(contents: RunContents) -> tuple[Table, ...]:
    """The tables of a run that have rows, in the order of the page."""
    return tuple(table for table in _all_tables(contents) if table.rows)


def _all_tables(contents: RunContents) -> Iterator[Table]:
    results = contents.results
    yield from _curves(results)
    yield score_table([row for row in results.rows if row.train_size is None])
    yield difference_table([item for item in results.differences if item.train_size is None])
    yield _labels(contents.labels)
    if contents.scores is not None:
        section = label_error_section(contents.scores, contents.usable_calibration)
        if section is not None:
            yield _label_errors(section)
    yield build_table(
        "annotators",
        "Scores against the union and the majority of several annotators, with 95% intervals, and chance.",
        results.annotators,
        _ANNOTATORS,
    )
    yield build_table(
        "dimensions",
        "Mean absolute error of valence, arousal and dominance from 0 to 1, with 95% intervals.",
        results.dimensions,
        _DIMENSION,
    )
    yield build_table(
        "calibration",
        "Metrics before and after calibration, with 95% intervals of the change.",
        results.calibration,
        _CALIBRATION,
    )
    yield build_table(
        "abstention",
        "Accuracy of the best label by who gets an answer, with 95% intervals.",
        results.abstention,
        _ABSTENTION,
    )
    yield build_table(
        "prediction-sets",
        "Stated and observed coverage of prediction sets, with 95% intervals, and their size.",
        results.prediction_sets,
        _PREDICTION_SETS,
    )
    yield build_table(
        "groups",
        "Scores by annotated group of people, for audit only, with 95% intervals.",
        results.groups,
        _GROUP,
    )
    yield _made(contents)


def score_table(rows: Sequence[ResultRow]) -> Table:
    """Scores of models in metrics."""
    return build_table("scores", "Scores with 95% intervals, and chance.", rows, _SCORE)


def difference_table(items: Sequence[Difference]) -> Table:
    """Paired differences of models."""
    caption = "Paired differences with 95% intervals. Clear: the interval excludes zero."
    return build_table("differences", caption, items, _DIFFERENCE)


def _yes(is_true: bool) -> str:
    return "yes" if is_true else "no"


def _curves(results: Evaluation) -> Iterator[Table]:
    yield build_table(
        "curves",
        "Scores by the number of training images, with 95% intervals, and chance.",
        [row for row in results.rows if row.train_size is not None],
        [(_TRAIN_SIZE, lambda row: row.train_size), *_SCORE],
    )
    yield build_table(
        "curve-differences",
        "Paired differences by the number of training images, with 95% intervals.",
        [item for item in results.differences if item.train_size is not None],
        [(_TRAIN_SIZE, lambda row: row.train_size), *_DIFFERENCE],
    )


def _labels(rows: Sequence[LabelRow]) -> Table:
    split = f" on split {rows[0].split}" if rows else ""
    known: list[Field[LabelRow]] = [
        (Column(name=name, kind="number"), value)
        for name, value in _OPTIONAL_OF_LABEL
        if any(value(row) is not None for row in rows)
    ]
    return build_table(
        "labels",
        f"Average precision by label{split}, with 95% intervals, and the share of subjects.",
        sorted(rows, key=lambda row: -row.prevalence),
        [*_LABEL, *known, (Column(name="Subjects", kind="count"), lambda row: row.positives)],
    )


def _label_errors(section: LabelErrorSection) -> Table:
    if section.counts:
        return Table(
            name="confusion",
            caption=f"Annotated labels (rows) and highest scores (columns) on split {section.split}.",
            columns=(
                Column(name="Annotated"),
                *(Column(name=label, kind="count") for label in section.labels),
            ),
            rows=tuple((label, *row) for label, row in zip(section.labels, section.counts, strict=True)),
        )
    return build_table(
        "error-pairs",
        f"Errors of labels that come together on split {section.split}. Expected: if independent.",
        section.pairs,
        [
            (Column(name="Kind"), lambda pair: pair.kind),
            (Column(name="First"), lambda pair: pair.first),
            (Column(name="Second"), lambda pair: pair.second),
            (Column(name="People", kind="count"), lambda pair: pair.count),
            (Column(name="Expected", kind="number", digits=1), lambda pair: pair.expected),
            (Column(name="Out of", kind="count"), lambda pair: pair.n),
            (Column(name="Clear"), lambda pair: _yes(pair.is_clear)),
        ],
    )


def _made(contents: RunContents) -> Table:
    made = provenance_section(contents.run, contents.manifest, contents.examples)
    commands = [("Command", f"{line.line} ({line.seconds})") for line in made.commands]
    return Table(
        name="made",
        caption="How the run was made.",
        columns=(Column(name="What"), Column(name="Value")),
        rows=(*commands, *made.costs, *made.versions),
    )
