"""Turns scores into probabilities, and decides from which probability on a label holds.

Both are fitted on the split that stops training, never on "test" or "train", and kept next to the model.

"temperature": logits are divided by one number, which changes no ranking within a sample, nor, where any
number of labels may hold, within a label (Guo et al. 2017). "platt": each label has a slope and an offset of
its own (Platt 1999), which changes no ranking within a label. Both minimize the negative log-likelihood of
the split on which they are fitted, and are skipped where they do not lower it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64

from mien.documents import read_json
from mien.errors import DataError, RunError
from mien.evaluate.calibration.abstention import confidences, fit_min_confidence
from mien.evaluate.calibration.conformal import PredictionSets, fit_prediction_sets, min_images
from mien.evaluate.calibration.scaling import (
    CalibrationMethod,
    fit_lines,
    label_names,
    probabilities,
    to_logits,
)
from mien.evaluate.calibration.thresholds import ThresholdRule, fit_thresholds
from mien.evaluate.metrics.targets import Labels
from mien.evaluate.scores import SplitScores
from mien.files import atomic_write_json

__all__ = [
    "CALIBRATION",
    "Calibration",
    "CalibrationMethod",
    "check_calibration_split",
    "fit_calibration",
    "read_calibration",
    "read_own_calibration",
]

CALIBRATION: Final = "calibration.json"
_WEIGHTS: Final = "model.safetensors"  # as in mien.model.checkpoint, which imports torch
_SCHEMA: Final = 1
_FORBIDDEN_SPLITS: Final = ("test", "train")
_NEW: Final = ("min_confidence", "answered", "prediction_sets")  # files of earlier versions lack them


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
        offsets: What is added to each label's logits after that.
        thresholds: The probability from which a label holds; None where exactly one label holds.
        rule: How thresholds are chosen.
        cost: How many false alarms a missed label costs, for the rule "cost".
        defaulted: Labels without a positive sample in `split`, whose threshold is 0.5.
        shared: Labels with too few samples for a slope of their own, which have the slope of the temperature.
        model: Digest of the weights.
        min_confidence: The calibrated score of the best label from which on the model is sure; None in files
            of earlier versions.
        answered: The share of people in `split` for whom the model is sure; None in files of earlier
            versions.
        prediction_sets: Which labels may hold; None in files of earlier versions.
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
    min_confidence: float | None = None
    answered: float | None = None
    prediction_sets: PredictionSets | None = None

    def apply(self, scores: Labels) -> Float64[np.ndarray, "sample label"]:
        """Calibrated scores; the same scores if `method` is "none"."""
        if scores.shape[1] != len(self.labels):
            raise DataError(
                f"scores of {scores.shape[1]} labels, and a calibration of {len(self.labels)}",
                hint="run mien evaluate again",
            )
        if self.method == "none":
            return np.asarray(scores, dtype=np.float64)
        logits = np.asarray(self.slopes) * to_logits(scores, exclusive=self.exclusive)
        return probabilities(logits + np.asarray(self.offsets), exclusive=self.exclusive)

    def are_sure(self, calibrated: Labels) -> Bool[np.ndarray, " sample"]:
        """Of which samples the model is sure, given calibrated scores: see `mien.types.Prediction.is_sure`.

        Of all if the calibration has no lowest confidence.
        """
        sure: np.ndarray = confidences(calibrated) >= (self.min_confidence or 0.0)
        if self.thresholds is not None and self.min_confidence is not None:
            sure &= (np.asarray(calibrated) >= np.array(self.thresholds)).any(axis=1)
        return sure

    def name_sets(self, scores: Labels) -> list[tuple[str, ...]] | None:
        """The labels in each sample's prediction set, the highest calibrated score first; None without sets.

        Args:
            scores: The model's scores as they are, not calibrated.
        """
        if self.prediction_sets is None or self.coverage is None:
            return None
        contained, calibrated = self.prediction_sets.apply(scores), self.apply(scores)
        order = np.argsort(-calibrated, axis=1, kind="stable")
        return [
            tuple(self.labels[label] for label in order[row] if contained[row, label])
            for row in range(len(order))
        ]

    @property
    def coverage(self) -> float | None:
        """The stated coverage of prediction sets; None without any."""
        sets = self.prediction_sets
        return sets.coverage if sets is not None and sets.is_promised else None

    def fits(self, model: str) -> bool:
        """Whether it was fitted to these weights, and not by an earlier version, which fits less."""
        return self.model == model and self.prediction_sets is not None

    @property
    def set_note(self) -> str:
        """Why there are no prediction sets, or which labels all of them have; "" for neither."""
        sets = self.prediction_sets
        if sets is None or not sets.unbounded:
            return ""
        needed = f"a coverage of {sets.coverage:.0%} needs {min_images(sets.coverage)} images"
        if sets.is_promised:
            rare = ", ".join(self.labels[index] for index in sets.unbounded)
            return (
                f"in every prediction set, because {needed} with a label, and {sets.split} has fewer: {rare}"
            )
        most = max(sets.num_images)
        return f"no prediction sets: {needed} with a label, and {sets.split} has at most {most}"

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
            known = {name: values[name] for name in cls.__dataclass_fields__ if name not in _NEW}
        except KeyError as error:
            raise RunError(f"a calibration lacks {error}", hint="run mien evaluate again") from error
        known |= {name: values[name] for name in _NEW if values.get(name) is not None}
        if "prediction_sets" in known:
            known["prediction_sets"] = PredictionSets.from_json(known["prediction_sets"])
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
    coverage: float = 0.9,
    answered: float = 0.8,
    model: str = "",
) -> Calibration:
    """Fits probabilities, thresholds and prediction sets to the scores of the split that stops training.

    Args:
        scores: The model's scores on that split.
        method: How logits are transformed.
        rule: How thresholds are chosen; see `fit_thresholds`.
        cost: How many false alarms a missed label costs, for the rule "cost".
        coverage: Of prediction sets, between 0 and 1.
        answered: The share of people for whom the model is to be sure, above 0 and up to 1.
        model: Digest of the weights.

    Raises:
        DataError: The split is "test" or "train".
        ConfigError: The method is "platt" and exactly one label holds.
    """
    check_calibration_split(scores.split)
    label_set = scores.label_set
    lines = fit_lines(scores.targets, scores.scores, label_set, method)
    calibration = Calibration(
        method=method,
        split=scores.split,
        n=len(scores),
        label_set=label_set.name,
        labels=label_set.labels,
        exclusive=label_set.exclusive,
        slopes=tuple(lines.slopes.tolist()),
        offsets=tuple(lines.offsets.tolist()),
        thresholds=None,
        rule=rule,
        cost=cost,
        defaulted=(),
        shared=label_names(label_set, lines.shared),
        model=model,
        answered=answered,
        prediction_sets=fit_prediction_sets(scores, coverage=coverage),
    )
    calibrated = calibration.apply(scores.scores)
    calibration = replace(calibration, min_confidence=fit_min_confidence(calibrated, answered=answered))
    if label_set.exclusive:
        return calibration
    thresholds, without = fit_thresholds(scores.targets, calibrated, rule=rule, cost=cost)
    return replace(
        calibration, thresholds=tuple(thresholds.tolist()), defaulted=label_names(label_set, without)
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
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again") from error


def read_own_calibration(run: Path, labels: Sequence[str] | None = None) -> Calibration | None:
    """The calibration of a run or saved folder, if it has one; RunError if it belongs to another model.

    Args:
        run: The folder. Without weights, as of an ablation, nothing says which model it belongs to.
        labels: The labels of the model, to be compared, too.
    """
    found = read_calibration(run)
    hint = f"run mien evaluate {run} again, or delete the file to get uncalibrated scores"
    if found is not None and labels is not None and found.labels != tuple(labels):
        raise RunError(
            f"{run / CALIBRATION} has other labels, or in another order, than the model", hint=hint
        )
    if found is not None and (run / _WEIGHTS).exists():
        from mien.model.checkpoint import model_digest  # imports torch

        if found.model != model_digest(run):
            raise RunError(
                f"{run / CALIBRATION} was fitted to other weights than those of this run", hint=hint
            )
    return found


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
    if calibration.min_confidence is not None and not 0 <= calibration.min_confidence <= 1:
        raise ValueError("min_confidence is not from 0 to 1")
    sets = calibration.prediction_sets
    if sets is not None and (len(sets.num_images) != count or sets.exclusive != calibration.exclusive):
        raise ValueError(f"prediction sets are not those of {count} labels")
