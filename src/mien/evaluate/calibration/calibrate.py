"""Turns scores into probabilities, and decides from which probability on a label holds.

Both are fitted on the split that stops training, never on "test" or "train", and kept next to the model.

"temperature": logits are divided by one number, which changes no ranking within a sample, nor, where any
number of labels may hold, within a label (Guo et al. 2017). "platt": each label has a slope and an offset of
its own (Platt 1999), which changes no ranking within a label. Both minimize the negative log-likelihood of
the split on which they are fitted, and are skipped where they do not lower it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy.special import expit, logit, logsumexp, softmax

from mien.documents import read_json
from mien.errors import ConfigError, DataError, RunError
from mien.evaluate.calibration.thresholds import ThresholdRule, fit_thresholds
from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.metrics.targets import Labels
from mien.evaluate.scores import SplitScores
from mien.files import atomic_write_json
from mien.labels import LabelSet

__all__ = [
    "CALIBRATION",
    "Calibration",
    "CalibrationMethod",
    "check_calibration_split",
    "fit_calibration",
    "read_calibration",
]

CalibrationMethod = Literal["temperature", "platt", "none"]

CALIBRATION: Final = "calibration.json"
_SCHEMA: Final = 1
_FORBIDDEN_SPLITS: Final = ("test", "train")
_MIN_SAMPLES: Final = 5  # a label with fewer positives or negatives has no slope of its own

# Where scores separate a label without an error, the likelihood has its maximum at infinity.
_SLOPE_BOUNDS: Final = (0.05, 20.0)
_OFFSET_BOUNDS: Final = (-20.0, 20.0)
_LOWEST_SCORE, _HIGHEST_SCORE = 1e-30, 1 - 2.0**-25  # a float32 sigmoid returns 0 and 1

Logits = Float64[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a model's scores become probabilities, and from which probability on a label holds.

    Attributes:
        method: What was fitted.
        split: The split on which it was fitted.
        n: How many samples that split has.
        label_set: Name of the label set.
        labels: The labels, in whose order slopes, offsets and thresholds are.
        exclusive: Whether exactly one label holds.
        slopes: What each label's logits are multiplied by.
        offsets: What is added to them then.
        thresholds: The probability from which a label holds; None where exactly one label holds.
        rule: How thresholds are chosen.
        cost: How many false alarms a missed label costs, for the rule "cost".
        defaulted: Labels without a positive sample in `split`, whose threshold is 0.5.
        shared: Labels with too few samples for a slope of their own, which have the temperature's.
        model: Digest of the weights.
    """

    method: CalibrationMethod
    split: str
    n: int
    label_set: str
    labels: tuple[str, ...]
    exclusive: bool
    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    thresholds: tuple[float, ...] | None
    rule: ThresholdRule
    cost: float
    defaulted: tuple[str, ...]
    shared: tuple[str, ...]
    model: str

    def apply(self, scores: Labels) -> Float64[np.ndarray, "sample label"]:
        """Calibrated scores; the same scores if `method` is "none"."""
        if scores.shape[1] != len(self.labels):
            raise DataError(
                f"scores of {scores.shape[1]} labels, and a calibration of {len(self.labels)}",
                hint="run mien evaluate again",
            )
        if self.method == "none":
            return np.asarray(scores, dtype=np.float64)
        logits = np.asarray(self.slopes) * _logits(scores, exclusive=self.exclusive) + np.asarray(
            self.offsets
        )
        return _probabilities(logits, exclusive=self.exclusive)

    @property
    def temperature(self) -> float | None:
        """What logits are divided by; None where labels have slopes of their own."""
        return 1 / self.slopes[0] if self.method == "temperature" else None

    def by_label(self) -> Mapping[str, float] | None:
        """The thresholds by label, None where exactly one label holds."""
        return None if self.thresholds is None else dict(zip(self.labels, self.thresholds, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema": _SCHEMA, "temperature": self.temperature, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`; RunError for another schema or damaged values."""
        if values.get("schema") != _SCHEMA:
            raise RunError(
                f"a calibration has schema {values.get('schema')!r}, not {_SCHEMA}",
                hint="read it with the version of mien that wrote it, or run mien evaluate again",
            )
        if "how" in values:  # as mien 0.1 calls it
            values = {"method": values["how"], **values}
        try:
            known = {name: values[name] for name in cls.__dataclass_fields__}
        except KeyError as error:
            raise RunError(f"a calibration lacks {error}", hint="run mien evaluate again") from error
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        found = cls(**{**known, **lists})
        _check_numbers(found)
        return found

    def save(self, run: Path) -> None:
        """Writes `calibration.json` into a run directory."""
        atomic_write_json(run / CALIBRATION, self.to_json())


def fit_calibration(
    scores: SplitScores,
    *,
    method: CalibrationMethod = "temperature",
    rule: ThresholdRule = "f1",
    cost: float = 1.0,
    model: str = "",
) -> Calibration:
    """Fits probabilities and thresholds to the scores of the split that stops training.

    Args:
        scores: The model's scores on that split.
        method: How logits are transformed.
        rule: How thresholds are chosen; see `fit_thresholds`.
        cost: How many false alarms a missed label costs, for the rule "cost".
        model: Digest of the weights.

    Raises:
        DataError: The split is "test" or "train".
        ConfigError: The method is "platt" and exactly one label holds.
    """
    check_calibration_split(scores.split)
    label_set = scores.label_set
    slopes, offsets, shared = _fit_lines(scores, method)
    calibration = Calibration(
        method=method,
        split=scores.split,
        n=len(scores),
        label_set=label_set.name,
        labels=label_set.labels,
        exclusive=label_set.exclusive,
        slopes=tuple(slopes.tolist()),
        offsets=tuple(offsets.tolist()),
        thresholds=None,
        rule=rule,
        cost=cost,
        defaulted=(),
        shared=shared,
        model=model,
    )
    if label_set.exclusive:
        return calibration
    probabilities = calibration.apply(scores.scores)
    thresholds, without = fit_thresholds(scores.targets, probabilities, rule=rule, cost=cost)
    return replace(
        calibration, thresholds=tuple(thresholds.tolist()), defaulted=_label_names(label_set, without)
    )


def check_calibration_split(split: str) -> None:
    """DataError for a split that a calibration must not be fitted on: "test" or "train"."""
    if split in _FORBIDDEN_SPLITS:
        raise DataError(
            f"a calibration fitted on split {split!r} would inflate all of its scores",
            hint="fit it on the split that stops training, [train] select_on",
        )


def read_calibration(run: Path) -> Calibration | None:
    """The calibration of a run directory, or in a file, None if there is none; RunError if it is damaged."""
    path = run if run.is_file() else run / CALIBRATION
    if not path.exists():
        return None
    try:
        return Calibration.from_json(read_json(path))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again") from error


def _check_numbers(calibration: Calibration) -> None:
    """ValueError or TypeError unless there is one finite number per label, and thresholds are in 0..1."""
    count = len(calibration.labels)
    thresholds = calibration.thresholds
    columns = {"slopes": calibration.slopes, "offsets": calibration.offsets, "thresholds": thresholds}
    for name, values in columns.items():
        if values is None and name == "thresholds":
            continue
        numbers = np.array(values, dtype=np.float64)
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise ValueError(f"{name} are not one finite number for each of {count} labels")
    if thresholds is not None and not all(0 <= value <= 1 for value in thresholds):
        raise ValueError("thresholds are not from 0 to 1")


# --- The fit -----------------------------------------------------------------------------------------


def _fit_lines(
    scores: SplitScores, method: CalibrationMethod
) -> tuple[Float[np.ndarray, " label"], Float[np.ndarray, " label"], tuple[str, ...]]:
    """Slope and offset of each label, and the names of those that share the temperature's."""
    label_set, count = scores.label_set, len(scores.label_set)
    if method == "none":
        return np.ones(count), np.zeros(count), ()
    if method == "platt" and label_set.exclusive:
        raise ConfigError(
            f"evaluate.calibration 'platt' calibrates each label alone, and in set {label_set.name!r} "
            "exactly one holds",
            hint="use 'temperature'",
        )
    logits = _logits(scores.scores, exclusive=label_set.exclusive)
    truth = true_labels(scores.targets, exclusive=label_set.exclusive).astype(np.float64)
    slope = _fit_slope(logits, truth, exclusive=label_set.exclusive)
    slopes, offsets = np.full(count, slope), np.zeros(count)
    if method == "temperature":
        return slopes, offsets, ()
    rarer = np.minimum(truth.sum(axis=0), (1 - truth).sum(axis=0))
    for label in np.flatnonzero(rarer >= _MIN_SAMPLES):
        slopes[label], offsets[label] = _fit_line(logits[:, label], truth[:, label], start=slope)
    return slopes, offsets, _label_names(label_set, rarer < _MIN_SAMPLES)


def _fit_slope(logits: Logits, truth: Logits, *, exclusive: bool) -> float:
    """The slope of least loss, the inverse of a temperature; 1 if none is better."""

    def derivative(slope: float) -> float:
        error = _probabilities(slope * logits, exclusive=exclusive) - truth
        return float((error * logits).sum())

    low, high = _SLOPE_BOUNDS
    # The loss is convex in the slope: it has its minimum where the derivative is 0, or at a bound.
    if derivative(low) >= 0:
        slope = low
    elif derivative(high) <= 0:
        slope = high
    else:
        from scipy.optimize import brentq  # late: reading a calibration does not need it

        slope = float(brentq(derivative, low, high, xtol=1e-14))
    before = _loss(logits, truth, exclusive=exclusive)
    return slope if _loss(slope * logits, truth, exclusive=exclusive) <= before else 1.0


def _fit_line(
    logits: Float64[np.ndarray, " sample"], truth: Float64[np.ndarray, " sample"], *, start: float
) -> tuple[float, float]:
    """Slope (above 0) and offset of least loss for one label; (1, 0) if no other is better."""
    from scipy.optimize import minimize

    def loss_and_gradient(line: np.ndarray) -> tuple[float, np.ndarray]:
        moved = line[0] * logits + line[1]
        error = expit(moved) - truth
        gradient = np.array([(error * logits).mean(), error.mean()])
        return float((np.logaddexp(0, moved) - moved * truth).mean()), gradient

    # Not scikit-learn's LogisticRegression: it has no bounds, so it diverges where a label is separable and
    # reverses the ranking where scores are worse than chance.
    bounds = (_SLOPE_BOUNDS, _OFFSET_BOUNDS)
    found = minimize(loss_and_gradient, (start, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    unchanged, _ = loss_and_gradient(np.array([1.0, 0.0]))
    return (float(found.x[0]), float(found.x[1])) if found.fun <= unchanged else (1.0, 0.0)


def _logits(scores: Labels, *, exclusive: bool) -> Logits:
    """The logits that a sigmoid, or up to a constant a softmax, turns into these scores."""
    values = np.maximum(np.asarray(scores, dtype=np.float64), _LOWEST_SCORE)
    logits: Logits = np.log(values) if exclusive else logit(np.minimum(values, _HIGHEST_SCORE))
    return logits


def _probabilities(logits: Logits, *, exclusive: bool) -> Float64[np.ndarray, "sample label"]:
    probabilities: np.ndarray = softmax(logits, axis=1) if exclusive else expit(logits)
    return probabilities


def _loss(logits: Logits, truth: Logits, *, exclusive: bool) -> float:
    """Negative log-likelihood, mean over samples; where any number of labels may hold, over labels too."""
    if exclusive:
        return float((logsumexp(logits, axis=1) - (logits * truth).sum(axis=1)).mean())
    return float((np.logaddexp(0, logits) - logits * truth).mean())


def _label_names(label_set: LabelSet, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(label for label, one in zip(label_set.labels, chosen, strict=True) if one)
