"""Evaluation results: one row per score, difference, label, dimension and calibration; and their JSON file.

The same format serves one run (`evaluation.json`) and the comparison of many (`results.json`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from mien.documents import read_json
from mien.errors import RunError
from mien.evaluate.results.breakdown_rows import AnnotatorRow, GroupRow
from mien.files import atomic_write_json

__all__ = [
    "EVALUATION",
    "MIN_POSITIVES",
    "RESULTS",
    "AbstentionRow",
    "CalibrationRow",
    "Difference",
    "DimensionRow",
    "Evaluation",
    "LabelRow",
    "ResultRow",
    "SetRow",
    "SharedImages",
    "SplitAccess",
    "read_results",
    "write_results",
]

EVALUATION: Final = "evaluation.json"
RESULTS: Final = "results.json"
MIN_POSITIVES: Final = 5
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One model's score in one metric on one split.

    Attributes:
        name: The model.
        metric: The metric's name, as in a recipe.
        split: The split.
        value: The metric, averaged over `seeds`.
        low: Lower bound of the 95 % interval; None if the split's images are too few to resample.
        high: Upper bound of the 95 % interval; None if the split's images are too few to resample.
        chance: What a model that sees neither image nor text reaches.
        n: How many samples the split has.
        seeds: The training seeds.
        labels: How many labels count: those that some sample of the split has, or the rarest third of them;
            None for metrics of dimensions alone.
        train_size: How many training images the model has seen, in a learning curve; None elsewhere.
    """

    name: str
    metric: str
    split: str
    value: float
    low: float | None
    high: float | None
    chance: float
    n: int
    seeds: tuple[int, ...]
    labels: int | None = None
    train_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Score of model `a` minus score of model `b` on the same samples, with its paired 95 % interval.

    Attributes:
        a: One model.
        b: The other model.
        metric: The metric.
        split: The split.
        value: The difference.
        low: Lower bound of the interval; None if the split's images are too few to resample.
        high: Upper bound of the interval; None if the split's images are too few to resample.
        train_size: How many training images both models have seen, in a learning curve; None elsewhere.
    """

    a: str
    b: str
    metric: str
    split: str
    value: float
    low: float | None
    high: float | None
    train_size: int | None = None

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval lies on one side of zero: the models differ."""
        return _excludes_zero(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label, as the model `name` predicts it; None: not defined, or not computed.

    Attributes:
        label: The label.
        split: The split.
        value: The average precision of the label, as scikit-learn computes it.
        low: Lower bound of the 95 % interval; None if fewer than 5 samples have the label, because resampling
            so few says nothing.
        high: Upper bound of the 95 % interval; None if fewer than 5 samples have the label, because
            resampling so few says nothing.
        prevalence: The share of samples that have the label, which is the chance level of `value`.
        positives: How many samples have the label.
        name: The model.
        n: How many samples the split has.
        ap_emotic: The average precision of the label, interpolated as the EMOTIC authors do.
        auc: Area under the ROC curve.
        f1: F1 at a score of 0.5, or of the highest score where exactly one label holds.
        threshold: The threshold that a calibration chose.
        f1_at_threshold: F1 of calibrated scores at that threshold.
        train_size: How many training images the model has seen, in a learning curve.
    """

    label: str
    split: str
    value: float
    low: float | None
    high: float | None
    prevalence: float
    positives: int
    name: str = ""
    n: int | None = None
    ap_emotic: float | None = None
    auc: float | None = None
    f1: float | None = None
    threshold: float | None = None
    f1_at_threshold: float | None = None
    train_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionRow:
    """Valence, arousal or dominance: mean absolute error on 0 to 1 with its 95 % interval.

    Attributes:
        name: The model.
        dimension: The dimension.
        split: The split.
        value: The mean absolute error.
        low: Lower bound of the interval; None if the split's images are too few to resample.
        high: Upper bound of the interval; None if the split's images are too few to resample.
        chance: The error of always answering the median.
        r2: Coefficient of determination; None where all annotated samples agree.
        n: How many samples were annotated.
    """

    name: str
    dimension: str
    split: str
    value: float
    low: float | None
    high: float | None
    chance: float
    r2: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """A metric before and after a calibration on another split; the interval is of after minus before.

    For ECE and Brier that is calibrating the scores, for macro_f1 using the fitted thresholds instead of 0.5.

    Attributes:
        name: The model.
        metric: The metric.
        split: The split.
        before: The metric without the calibration.
        after: The metric with the calibration.
        low: Lower bound of the interval; None if the split's images are too few to resample.
        high: Upper bound of the interval; None if the split's images are too few to resample.
        fitted_on: The split on which the calibration was fitted.
        n: How many samples the split has.
    """

    name: str
    metric: str
    split: str
    before: float
    after: float
    low: float | None
    high: float | None
    fitted_on: str
    n: int

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval lies on one side of zero: the calibration changes something."""
        return _excludes_zero(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """How often prediction sets contain true labels, and how large the sets are.

    Attributes:
        name: The model.
        split: The split.
        coverage: The stated coverage.
        value: The observed coverage, in which images count equally, as in the guarantee: the share of people
            whose set contains their label; where any number of labels may hold, the share of a label's people
            whose set contains it, averaged over the labels that sets can leave out.
        low: Lower bound of its 95 % interval; None if the split's images are too few to resample.
        high: Upper bound of its 95 % interval; None if the split's images are too few to resample.
        size: The mean number of labels in a set.
        single: The share of sets with one label.
        complete: The share of sets with all labels that a person has, which is not guaranteed where any
            number may hold.
        labels: How many labels there are.
        n: How many samples the split has that have a label.
        fitted_on: The split on which the cut was fitted.
        likely_low: A cut that is fitted on so many images covers at least this share in 97.5 % of cases. Of
            several cuts, it is that of the label with the fewest images.
        likely_high: The cut covers at most this share in 97.5 % of cases.
        is_default: Whether predictions have these sets.
    """

    name: str
    split: str
    coverage: float
    value: float
    low: float | None
    high: float | None
    size: float
    single: float
    complete: float
    labels: int
    n: int
    fitted_on: str
    likely_low: float
    likely_high: float
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionRow:
    """How often the best label is right if only the most confident people get an answer.

    Attributes:
        name: The model.
        split: The split.
        answered: The share of people who get an answer.
        value: The share of them whose highest score is at one of their labels.
        low: Lower bound of its 95 % interval; None if the split's images are too few to resample.
        high: Upper bound of its 95 % interval; None if the split's images are too few to resample.
        gain: `value` minus the same share among everyone.
        gain_low: Lower bound of the paired 95 % interval of the gain; None if the split's images are too few
            to resample.
        gain_high: Upper bound of the paired 95 % interval of the gain; None if the split's images are too few
            to resample.
        n: How many people get an answer.
        fitted_on: The split on which the lowest confidence was fitted; "" where the most confident people of
            `split` itself are taken.
        min_confidence: The lowest confidence, where one was fitted.
    """

    name: str
    split: str
    answered: float
    value: float
    low: float | None
    high: float | None
    gain: float
    gain_low: float | None
    gain_high: float | None
    n: int
    fitted_on: str = ""
    min_confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAccess:
    """How often a run has scored a split so far.

    Attributes:
        split: The split.
        times: How often it was scored.
        weights: How many different weights it was scored with.
    """

    split: str
    times: int
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImages:
    """Images of a scored `split` that another one has byte for byte, so that its scores may be too good.

    Attributes:
        split: The scored split.
        other: A split that training learned from or was stopped by.
        images: How many images of the scored split the other one has, too.
        of_images: How many images the scored split has.
        samples: How many samples of the scored split are in shared images.
        n: How many samples the scored split has.
    """

    split: str
    other: str
    images: int
    of_images: int
    samples: int
    n: int

    def __str__(self) -> str:
        return (
            f"{self.images:,} of {self.of_images:,} images of {self.split} ({self.samples:,} of {self.n:,} "
            f"samples) are also in {self.other}, byte for byte; the scores may be too good"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that evaluating or comparing models found, as in `evaluation.json` and `results.json`.

    Attributes:
        rows: One row per model, metric and split.
        differences: Paired differences between models on the same samples.
        labels: One row per model, split and label.
        dimensions: One row per model, split and dimension: valence, arousal, dominance.
        calibration: What calibration changes on splits other than the one it was fitted on.
        prediction_sets: The coverage and size of prediction sets, on splits other than the one they were
            fitted on.
        abstention: How often the best label is right, by how many people get an answer.
        groups: Metrics by annotated group of people, for audits only.
        annotators: The same scores against the union and against the majority of several annotators.
        split_accesses: How often each split was scored; a test split that guides changes to a
            model does not test it any more.
        shared_images: What scored splits share with those of training.
        uncalibrated: Models whose scores only rank labels and people, and are not probabilities.
        unscored: Ids of samples that could not be scored, and are left out.
        interval: The kind of all intervals, at 95 %; "" if an earlier version of mien computed them.
        approximate: Splits with so few images that their intervals cover less than 95 %.
        notes: What the numbers do not say, such as why they have no interval.
    """

    rows: tuple[ResultRow, ...] = ()
    differences: tuple[Difference, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    dimensions: tuple[DimensionRow, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    prediction_sets: tuple[SetRow, ...] = ()
    abstention: tuple[AbstentionRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    annotators: tuple[AnnotatorRow, ...] = ()
    split_accesses: tuple[SplitAccess, ...] = ()
    shared_images: tuple[SharedImages, ...] = ()
    uncalibrated: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    interval: str = ""
    approximate: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Evaluation) -> Evaluation:
        both = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if field.name != "interval"
        }
        return Evaluation(**both, interval=self.interval or other.interval)


def _excludes_zero(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and (low > 0 or high < 0)


# --- The file ----------------------------------------------------------------------------------------

_TYPES: Final[Mapping[str, Any]] = {
    "float": (int, float),
    "int": int,
    "bool": bool,
    "str": str,
    "tuple[int, ...]": tuple,
    "None": type(None),
}
Row = TypeVar(
    "Row",
    ResultRow,
    Difference,
    LabelRow,
    DimensionRow,
    CalibrationRow,
    SetRow,
    AbstentionRow,
    GroupRow,
    AnnotatorRow,
    SplitAccess,
    SharedImages,
)


def write_results(path: Path, results: Evaluation) -> None:
    """Writes `{"schema": 1, "rows": [...], "differences": [...], "labels": [...], ...}`."""
    atomic_write_json(path, {"schema": _SCHEMA, **asdict(results)})


def read_results(path: Path) -> Evaluation:
    """The results in a file; unknown keys are ignored. RunError if it is missing or damaged."""
    try:
        found = read_json(path)
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']!r}, not {_SCHEMA}")
        return Evaluation(
            rows=_rows(ResultRow, found["rows"]),
            differences=_rows(Difference, found["differences"]),
            # Earlier versions of mien do not write these, and called the last one "looks".
            labels=_rows(LabelRow, found.get("labels", ())),
            dimensions=_rows(DimensionRow, found.get("dimensions", ())),
            calibration=_rows(CalibrationRow, found.get("calibration", ())),
            prediction_sets=_rows(SetRow, found.get("prediction_sets", ())),
            abstention=_rows(AbstentionRow, found.get("abstention", ())),
            groups=_rows(GroupRow, found.get("groups", ())),
            annotators=_rows(AnnotatorRow, found.get("annotators", ())),
            split_accesses=_rows(SplitAccess, found.get("split_accesses", found.get("looks", ()))),
            shared_images=_rows(SharedImages, found.get("shared_images", ())),
            uncalibrated=tuple(str(name) for name in found.get("uncalibrated", ())),
            unscored=tuple(str(sample_id) for sample_id in found.get("unscored", ())),
            interval=str(found.get("interval", "")),
            approximate=tuple(str(split) for split in found.get("approximate", ())),
            notes=tuple(str(note) for note in found.get("notes", ())),
        )
    except FileNotFoundError as error:
        raise RunError(f"no results at {path}", hint="create them with mien evaluate") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again") from error


def _rows(kind: type[Row], items: Any) -> tuple[Row, ...]:
    types = {field.name: str(field.type).split(" | ") for field in fields(kind)}
    return tuple(
        kind(**{name: _value(item[name], name, types[name]) for name in types if name in item})
        for item in items
    )


def _value(value: Any, name: str, types: Sequence[str]) -> Any:
    """The value of a field; ValueError if it is of another type, or a number that is not finite."""
    value = tuple(value) if isinstance(value, list) else value
    if not any(isinstance(value, _TYPES[one]) for one in types):
        raise ValueError(f"{name} is {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which is not a finite number")
    return value
