"""Scores, comparisons, ablations and predictions as text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mien.cli.render.text import join_lines
from mien.evaluate.results.learning_curve import learning_curves
from mien.predict.results import NO_PERSON
from mien.types import DIMENSIONS, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.ablation.study import Ablation
    from mien.evaluate.results.breakdown_rows import AnnotatorRow
    from mien.evaluate.results.comparison import Comparison
    from mien.evaluate.results.learning_curve import LearningCurve
    from mien.evaluate.results.results import (
        AbstentionRow,
        CalibrationRow,
        Difference,
        Evaluation,
        ResultRow,
        SetRow,
    )
    from mien.predict.results import Person, Results

__all__ = [
    "render_ablation",
    "render_comparison",
    "render_prediction",
    "render_predictions",
    "render_results",
    "render_track",
]

_SHARES: Final = (1.0, 0.8, 0.5, 0.2)  # of the people who get an answer; a report has more
_BAR: Final = 24  # characters of a score of 1


def render_results(results: Evaluation) -> str:
    """Scores with intervals and chance levels, then differences and calibration."""
    names = [row.name for row in results.rows]
    width = max([16, *(len(name) + 2 for name in names)])
    name = _interval_name(results)
    head = f"{'metric':14}{'split':7}{'score':>7}  {name:17}{'chance':>7}{'n':>7}{'seeds':>7}"
    lines = [f"{'':{width}}{head}"]
    lines += [
        f"{row.name:{width}}{row.metric:14}{row.split:7}{row.value:7.3f}  "
        f"{_interval(row):17}{row.chance:7.3f}{row.n:7d}{len(row.seeds):7d}"
        for row in results.rows
    ]
    if results.differences:
        pairs = {id(item): f"{item.a} - {item.b}" for item in results.differences}
        width = max([30, *(len(pair) + 2 for pair in pairs.values())])
        lines += ["", f"{'difference (paired)':{width}}{'metric':14}{'score':>7}  {name:19}"]
        lines += [
            f"{pairs[id(item)]:{width}}{item.metric:14}{item.value:+7.3f}  "
            f"{_interval(item, '+'):19}{_zero(item)}".rstrip()
            for item in results.differences
        ]
    if results.calibration:
        lines += [
            "",
            f"{'fitted on another split':30}{'split':7}{'before':>7}{'after':>7}  {name} of the change",
        ]
        lines += [
            f"{f'{row.metric}, by {row.fitted_on}':30}{row.split:7}{row.before:7.3f}{row.after:7.3f}  "
            f"{_interval(row, '+')}"
            for row in results.calibration
        ]
    lines += _annotator_lines(results, name) + _set_lines(results, name) + _abstention_lines(results, name)
    return join_lines([*lines, *_interval_kind(results), *_notes(results)])


def _annotator_lines(results: Evaluation, interval_name: str) -> list[str]:
    """The same scores against what any annotator says, and against what most say."""
    if not results.annotators:
        return []
    head = f"{'of several annotators':30}{'split':7}{'score':>7}  {interval_name:17}{'chance':>7}"
    return ["", head] + [
        f"{f'{row.metric}, {row.truth}':30}{row.split:7}{row.value:7.3f}  "
        f"{_interval(row):17}{row.chance:7.3f}"
        for row in results.annotators
    ]


def _set_names(prediction: Prediction) -> str:
    """The labels of a prediction set, or those that it leaves out if these are fewer."""
    contained = prediction.prediction_set or ()
    others = [label for label in prediction.scores if label not in contained]
    if len(others) >= len(contained):
        return ", ".join(contained)
    return f"all but {', '.join(others)}" if others else "all"


def _set_lines(results: Evaluation, interval_name: str) -> list[str]:
    """The stated and observed coverage of prediction sets, and how many labels they have."""
    if not results.prediction_sets:
        return []
    head = f"{'prediction sets':30}{'split':7}{'stated':>7}{'found':>7}  {interval_name:17}{'labels':>12}"
    return ["", head] + [
        f"{f'fitted on {row.fitted_on}':30}{row.split:7}{row.coverage:7.2f}{row.value:7.3f}  "
        f"{_interval(row):17}{f'{row.size:.1f} of {row.labels}':>12}"
        for row in results.prediction_sets
    ]


def _abstention_lines(results: Evaluation, interval_name: str) -> list[str]:
    """How often the best label is right, for everyone and for those of whom the model is sure."""
    if not results.abstention:
        return []
    lines = ["", f"{'best label is right':30}{'split':7}{'people':>7}{'score':>7}  {interval_name}"]
    for row in results.abstention:
        if row.answered not in _SHARES and row.min_confidence is None:
            continue
        who = "everyone" if row.answered == 1 else f"the surest {row.answered:.0%}"
        if row.min_confidence is not None:
            who = f"score at least {row.min_confidence:.3f}, by {row.fitted_on}"
        lines.append(f"{who:30}{row.split:7}{row.answered:7.0%}{row.value:7.3f}  {_interval(row)}")
    return lines


def _interval(
    row: ResultRow | Difference | CalibrationRow | SetRow | AbstentionRow | AnnotatorRow, sign: str = ""
) -> str:
    if row.low is None or row.high is None:
        return "none"
    return f"{row.low:{sign}.3f} to {row.high:{sign}.3f}"


def _interval_name(results: Evaluation) -> str:
    return "interval" if results.approximate else "95 % interval"


def _interval_kind(results: Evaluation) -> list[str]:
    """Of which kind the intervals are; nothing for results that do not say it."""
    return ["", f"intervals: {results.interval}"] if results.interval else []


def _zero(item: Difference) -> str:
    return "" if item.low is None or item.excludes_zero else " (includes zero)"


def _notes(results: Evaluation) -> list[str]:
    """Notes on splits that have no intervals, were scored more than once, or share images with training."""
    repeated = [access for access in results.split_accesses if access.times > 1]
    notes = [
        f"note: {access.split} was scored {access.times} times by this run, with {access.weights} different "
        f"{'model' if access.weights == 1 else 'models'}"
        for access in repeated
    ]
    notes += [f"note: {note}" for note in (*results.notes, *results.shared_images)]
    return ["", *notes] if notes else []


def render_comparison(comparison: Comparison) -> str:
    """Scores of runs, their differences, the settings in which they differ, and published scores."""
    lines = render_results(comparison.results).split("\n")
    if any(comparison.settings.values()):
        lines += ["", "settings that differ"]
        lines += [
            f"  {name}: " + ", ".join(f"{knob} = {json.dumps(value)}" for knob, value in knobs.items())
            for name, knobs in comparison.settings.items()
        ]
    lines += [
        f"note: {run} has scored {access.split} {access.times} times"
        for run, access in comparison.split_accesses.items()
        if access.times > 1
    ]
    if comparison.published:
        lines += ["", f"{'published':28}{'metric':10}{'split':7}{'score':>7}  source; caveats"]
        lines += [
            f"{row.name:28}{row.metric:10}{row.split:7}{row.value:7.3f}  "
            + "; ".join(part for part in (row.source, caveats) if part)
            for row, caveats in comparison.published
        ]
    return join_lines(lines)


def render_predictions(results: Results, top: int) -> str:
    """The people in one image, each with labels and description, or why there is no prediction."""
    if results.error is not None:
        return join_lines([f"{results.source}: failed: {results.error}"])
    if not results.people:
        return join_lines([f"{results.source}: {results.status}"])
    if len(results) == 1 and results[0].box_source in ("whole", "given"):
        return _render_person(results.source, results[0], top)
    return "\n\n".join(
        _render_person(f"{results.source}, person {person.id}", person, top) for person in results
    )


def render_track(row: Mapping[str, Any], top: int) -> str:
    """A person of a video: when they are in it, and their mean scores; or that no one is."""
    span = f"{row['first_time']:.1f} to {row['last_time']:.1f} s"
    if row["track"] is None:
        return join_lines([f"{row['source']}: {NO_PERSON} ({span})"])
    name = f"{row['source']}, person {row['track']} ({span})"
    if not row["scores"]:
        return join_lines([f"{name}: failed in {row['num_failed']} frames"])
    dimensions = None if row["valence"] is None else {name: row[name] for name in DIMENSIONS}
    prediction = Prediction(subject_id=name, label_set="", scores=row["scores"], dimensions=dimensions)
    lines = []
    if row["num_failed"]:
        lines.append(f"  failed in {row['num_failed']} of {row['num_frames']} frames")
    if row["description"] is not None:
        lines += ["", *(f"  {line}" for line in row["description"].split("\n"))]
    return "\n".join([render_prediction(prediction, top), *([join_lines(lines)] if lines else [])])


def _render_person(source: str, person: Person, top: int) -> str:
    if person.prediction is None:
        return join_lines([f"{source}: failed: {person.error}"])
    return render_prediction(replace(person.prediction, subject_id=source), top)


def render_prediction(prediction: Prediction, top: int) -> str:
    """Labels with bars, dimensions if there are any, and the description."""
    lines = [f"{prediction.subject_id}: appears to feel"]
    above = None if prediction.thresholds is None else prediction.above(prediction.thresholds)
    lines += [f"  {name:18}{score:6.3f}  {'#' * round(score * _BAR)}" for name, score in prediction.top(top)]
    if above is not None:
        lines.append(f"  above threshold: {', '.join(above) or 'none'}")
    if prediction.unsure_because:
        guesses = ", so that the labels above their thresholds are guesses" if above else ""
        lines.append(f"  not sure: {prediction.unsure_because}{guesses}")
    if prediction.prediction_set is not None and prediction.coverage is not None:
        named = f"{len(prediction.prediction_set)} of {len(prediction.scores)} labels"
        lines.append(f"  {prediction.coverage:.0%} prediction set, {named}: {_set_names(prediction)}")
    if prediction.dimensions is not None:
        lines.append(f"  {prediction.dimensions_text()}")
    if prediction.description is not None:
        lines += ["", *(f"  {line}" for line in prediction.description.text.split("\n"))]
    if prediction.status != "ok":
        lines.append(f"  status: {prediction.status}")
    return join_lines(lines)


def render_ablation(ablation: Ablation) -> str:
    """One line per variant and metric, with the paired difference from the reference; and what was reused.

    A learning curve has one line per number of training images and metric, and one column per variant.
    """
    curves, name = learning_curves(ablation.results), _interval_name(ablation.results)
    lines = [line for curve in curves for line in _curve_lines(curve, name)] or _variant_lines(ablation)
    lines += [f"intervals: {ablation.results.interval}"] if ablation.results.interval else []
    lines += [f"note: {note}" for note in ablation.results.notes]
    reused = ", ".join(f"{count} {kind}" for kind, count in ablation.reused.items())
    figure = [] if ablation.curve is None else [f"figure: {ablation.curve}"]
    return join_lines([*lines, f"reused: {reused}", f"report: {ablation.report}", *figure])


def _curve_lines(curve: LearningCurve, interval_name: str) -> list[str]:
    """The scores of every model, chance, and the interval of each difference."""
    pairs = [f"{a} - {b}" for a, b in curve.pairs]
    head = [f"{'images':>7}", *(f"{name:>{_column(name)}}" for name in (*curve.models, "chance"))]
    head += [f"{pair:>{_wide_column(pair)}}" for pair in pairs]
    note = f"; differences: paired {interval_name}s" if pairs else ""
    lines = [f"{curve.metric}, {curve.split}, by the number of training images{note}", "".join(head)]
    for point in curve.points:
        chance = next(row.chance for row in point.rows if row is not None)
        cells = [f"{point.train_size:7d}"]
        cells += [
            f"{'none' if row is None else f'{row.value:.3f}':>{_column(name)}}"
            for name, row in zip(curve.models, point.rows, strict=True)
        ]
        cells += [f"{chance:{_column('chance')}.3f}"]
        cells += [
            f"{'none' if item is None else _interval(item, '+'):>{_wide_column(pair)}}"
            for pair, item in zip(pairs, point.differences, strict=True)
        ]
        lines.append("".join(cells))
    return [*lines, ""]


def _column(name: str) -> int:
    return max(7, len(name) + 2)


def _wide_column(pair: str) -> int:
    """The width of a column of intervals."""
    return max(18, len(pair) + 2)


def _variant_lines(ablation: Ablation) -> list[str]:
    width = max(len(row.name) for row in ablation.results.rows) + 2
    differences = {(item.b, item.metric): item for item in ablation.results.differences}
    lines = []
    for metric in dict.fromkeys(row.metric for row in ablation.results.rows):
        rows = [row for row in ablation.results.rows if row.metric == metric]
        head = f"{'score':>7}  {_interval_name(ablation.results):17}{'chance':>7}{'n':>7}{'seeds':>7}"
        note = f"  {ablation.reference} minus it, paired" if metric == ablation.metric else ""
        lines += [f"{f'{metric}, {ablation.split}':{width}}{head}{note}"]
        for row in rows:
            item = differences.get((row.name, metric))
            delta = "" if item is None else f"  {item.value:+.3f}, {_interval(item, '+')}{_zero(item)}"
            lines += [
                f"{row.name:{width}}{row.value:7.3f}  {_interval(row):17}{row.chance:7.3f}"
                f"{row.n:7d}{len(row.seeds):7d}{delta}"
            ]
        lines += [""]
    return lines
