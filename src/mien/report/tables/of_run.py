"""All tables of the page of a run, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mien.evaluate.results.breakdown_rows import GroupRow
from mien.evaluate.results.results import Difference, Evaluation, LabelRow, ResultRow
from mien.report.run.contents import RunContents
from mien.report.sections.label_errors import LabelErrorSection, label_error_section
from mien.report.sections.provenance import provenance_section
from mien.report.tables.table import Column, Table, Value

__all__ = ["difference_table", "run_tables", "score_table"]

_SCORE: Final = (
    Column(name="Model"),
    Column(name="Metric"),
    Column(name="Split"),
    Column(name="Score", kind="number"),
    Column(name="95% interval", kind="interval"),
    Column(name="Chance", kind="number"),
    Column(name="Subjects", kind="count"),
    Column(name="Seeds", kind="count"),
)
_DIFFERENCE: Final = (
    Column(name="First"),
    Column(name="Second"),
    Column(name="Metric"),
    Column(name="Split"),
    Column(name="First minus second", kind="number", signed=True),
    Column(name="95% interval", kind="interval", signed=True),
    Column(name="Clear"),
)
_TRAIN_SIZE: Final = Column(name="Training images", kind="count")


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
    yield _dimensions(results)
    yield _calibration(results)
    yield _abstention(results)
    yield _prediction_sets(results)
    yield _groups(results.groups)
    yield _made(contents)


def score_table(rows: Sequence[ResultRow]) -> Table:
    """Scores of models in metrics."""
    return Table(
        name="scores",
        caption="Scores with 95% intervals, and chance.",
        columns=_SCORE,
        rows=tuple(map(_score, rows)),
    )


def difference_table(items: Sequence[Difference]) -> Table:
    """Paired differences of models."""
    return Table(
        name="differences",
        caption="Paired differences with 95% intervals. Clear: the interval excludes zero.",
        columns=_DIFFERENCE,
        rows=tuple(map(_difference, items)),
    )


def _score(row: ResultRow) -> tuple[Value, ...]:
    bounds = (row.low, row.high)
    return (row.name, row.metric, row.split, row.value, bounds, row.chance, row.n, len(row.seeds))


def _difference(item: Difference) -> tuple[Value, ...]:
    bounds = (item.low, item.high)
    return (item.a, item.b, item.metric, item.split, item.value, bounds, _yes(item.excludes_zero))


def _yes(is_true: bool) -> str:
    return "yes" if is_true else "no"


def _curves(results: Evaluation) -> Iterator[Table]:
    rows = [row for row in results.rows if row.train_size is not None]
    differences = [item for item in results.differences if item.train_size is not None]
    yield Table(
        name="curves",
        caption="Scores by the number of training images, with 95% intervals, and chance.",
        columns=(_TRAIN_SIZE, *_SCORE),
        rows=tuple((row.train_size, *_score(row)) for row in rows),
    )
    yield Table(
        name="curve-differences",
        caption="Paired differences by the number of training images, with 95% intervals.",
        columns=(_TRAIN_SIZE, *_DIFFERENCE),
        rows=tuple((item.train_size, *_difference(item)) for item in differences),
    )


def _labels(rows: Sequence[LabelRow]) -> Table:
    ranked = sorted(rows, key=lambda row: -row.prevalence)
    optional = {
        "AP interpolated": [row.ap_emotic for row in ranked],
        "AUC": [row.auc for row in ranked],
        "F1": [row.f1 for row in ranked],
        "Threshold": [row.threshold for row in ranked],
        "F1 at threshold": [row.f1_at_threshold for row in ranked],
    }
    known = {name: values for name, values in optional.items() if any(value is not None for value in values)}
    split = f" on split {rows[0].split}" if rows else ""
    return Table(
        name="labels",
        caption=f"Average precision by label{split}, with 95% intervals, and the share of subjects.",
        columns=(
            Column(name="Label"),
            Column(name="AP", kind="number"),
            Column(name="95% interval", kind="interval"),
            Column(name="Share", kind="number"),
            *(Column(name=name, kind="number") for name in known),
            Column(name="Subjects", kind="count"),
        ),
        rows=tuple(
            (
                row.label,
                row.value,
                (row.low, row.high),
                row.prevalence,
                *(values[index] for values in known.values()),
                row.positives,
            )
            for index, row in enumerate(ranked)
        ),
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
    return Table(
        name="error-pairs",
        caption=f"Errors of labels that come together on split {section.split}. Expected: if independent.",
        columns=(
            Column(name="Kind"),
            Column(name="First"),
            Column(name="Second"),
            Column(name="People", kind="count"),
            Column(name="Expected", kind="number", digits=1),
            Column(name="Out of", kind="count"),
            Column(name="Clear"),
        ),
        rows=tuple(
            (pair.kind, pair.first, pair.second, pair.count, pair.expected, pair.n, _yes(pair.is_clear))
            for pair in section.pairs
        ),
    )


def _dimensions(results: Evaluation) -> Table:
    return Table(
        name="dimensions",
        caption="Mean absolute error of valence, arousal and dominance from 0 to 1, with 95% intervals.",
        columns=(
            Column(name="Model"),
            Column(name="Split"),
            Column(name="Dimension"),
            Column(name="Error", kind="number"),
            Column(name="95% interval", kind="interval"),
            Column(name="Chance", kind="number"),
            Column(name="R2", kind="number"),
            Column(name="Subjects", kind="count"),
        ),
        rows=tuple(
            (row.name, row.split, row.dimension, row.value, (row.low, row.high), row.chance, row.r2, row.n)
            for row in results.dimensions
        ),
    )


def _calibration(results: Evaluation) -> Table:
    return Table(
        name="calibration",
        caption="Metrics before and after calibration, with 95% intervals of the change.",
        columns=(
            Column(name="Model"),
            Column(name="Metric"),
            Column(name="Split"),
            Column(name="Fitted on"),
            Column(name="Before", kind="number"),
            Column(name="After", kind="number"),
            Column(name="95% interval of the change", kind="interval", signed=True),
            Column(name="Subjects", kind="count"),
        ),
        rows=tuple(
            (
                *(row.name, row.metric, row.split, row.fitted_on),
                *(row.before, row.after, (row.low, row.high), row.n),
            )
            for row in results.calibration
        ),
    )


def _abstention(results: Evaluation) -> Table:
    return Table(
        name="abstention",
        caption="Accuracy of the best label by who gets an answer, with 95% intervals.",
        columns=(
            Column(name="Model"),
            Column(name="Split"),
            Column(name="Answered", kind="number", digits=2),
            Column(name="People", kind="count"),
            Column(name="Accuracy", kind="number"),
            Column(name="95% interval", kind="interval"),
            Column(name="More than for everyone", kind="number", signed=True),
            Column(name="95% interval of the gain", kind="interval", signed=True),
            Column(name="Score from", kind="number"),
            Column(name="Fitted on"),
        ),
        rows=tuple(
            (
                *(row.name, row.split, row.answered, row.n, row.value, (row.low, row.high)),
                *(row.gain, (row.gain_low, row.gain_high), row.min_confidence, row.fitted_on or None),
            )
            for row in results.abstention
        ),
    )


def _prediction_sets(results: Evaluation) -> Table:
    return Table(
        name="prediction-sets",
        caption="Stated and observed coverage of prediction sets, with 95% intervals, and their size.",
        columns=(
            Column(name="Model"),
            Column(name="Split"),
            Column(name="Fitted on"),
            Column(name="Stated coverage", kind="number", digits=2),
            Column(name="Found", kind="number"),
            Column(name="95% interval", kind="interval"),
            Column(name="Expected", kind="interval"),
            Column(name="Labels in a set", kind="number", digits=1),
            Column(name="One label", kind="number", digits=2),
            Column(name="All labels of a person", kind="number", digits=2),
            Column(name="Subjects", kind="count"),
        ),
        rows=tuple(
            (
                *(row.name, row.split, row.fitted_on, row.coverage, row.value, (row.low, row.high)),
                *((row.likely_low, row.likely_high), row.size, row.single, row.complete, row.n),
            )
            for row in results.prediction_sets
        ),
    )


def _groups(rows: Sequence[GroupRow]) -> Table:
    return Table(
        name="groups",
        caption="Scores by annotated group of people, for audit only, with 95% intervals.",
        columns=(
            Column(name="Model"),
            Column(name="Split"),
            Column(name="Attribute"),
            Column(name="Group"),
            Column(name="Metric"),
            Column(name="Score", kind="number"),
            Column(name="95% interval", kind="interval"),
            Column(name="Chance", kind="number"),
            Column(name="People", kind="count"),
            Column(name="Images", kind="count"),
            Column(name="Compared with"),
            Column(name="Difference", kind="number", signed=True),
            Column(name="95% interval of the difference", kind="interval", signed=True),
        ),
        rows=tuple(
            (
                *(row.name, row.split, row.attribute, row.group, row.metric, row.value, (row.low, row.high)),
                *(row.chance, row.n, row.images, row.compared_with or None),
                *(row.difference, (row.difference_low, row.difference_high)),
            )
            for row in rows
        ),
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
