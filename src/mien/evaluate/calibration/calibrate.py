"""Scores made probabilities, and thresholds: fitted on the split that stops training, kept with the model.

Goes in: the scores of that split; never those of "test" or "train". Comes out: a `Calibration`, which turns
scores into calibrated ones, and its file `calibration.json`.
Knows nothing about: models, and how scores were made; a score says its logit.

"temperature": logits are divided by one number, which changes no ranking within a sample, nor, where any
number of labels may hold, within a label (Guo et al. 2017). "platt": each label has a slope and an offset of
its own (Platt 1999), which changes no ranking within a label. Both minimise the negative log-likelihood of
the split on which they are fitted, and are left out where they do not lower it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Float64

from mien.errors import ConfigError, DataError, RunError
from mien.evaluate.calibration.likelihood import best_slope, line_of_label, log_odds, sigmoid
from mien.evaluate.calibration.thresholds import ThresholdRule, fit_thresholds
from mien.evaluate.metrics.truth import Labels, positives, true_classes
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.runs import atomic_write_json

__all__ = ["CALIBRATION", "Calibration", "CalibrationMethod", "fit_calibration", "read_calibration"]

CalibrationMethod = Literal["temperature", "platt", "none"]

CALIBRATION: Final = "calibration.json"
_SCHEMA: Final = 1
_NEVER: Final = ("test", "train")
_FEW: Final = 5  # a label with fewer samples on either side has no slope of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How scores of a model become calibrated, and from which calibrated score on a label holds.

    Slopes and offsets of the logits, and thresholds, stand in the order of `labels`; `thresholds` is None
    where exactly one label holds. `defaulted`: labels without a positive sample in `split`, whose threshold
    is a half. `shared`: labels with too few samples for a slope of their own, which have the temperature's.
    `model` is the digest of the weights, `n` how many samples the split has.
    """

    how: CalibrationMethod
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
        """Calibrated scores; the same scores where `how` is "none"."""
        if scores.shape[1] != len(self.labels):
            raise DataError(
                f"scores of {scores.shape[1]} labels, and a calibration of {len(self.labels)}",
                hint="run mien evaluate again",
            )
        if self.how == "none":
            return np.asarray(scores, dtype=np.float64)
        odds = np.asarray(self.slopes) * log_odds(scores, exclusive=self.exclusive) + np.asarray(self.offsets)
        if self.exclusive:
            powers = np.exp(odds - odds.max(axis=1, keepdims=True))
            shares: Float64[np.ndarray, "sample label"] = powers / powers.sum(axis=1, keepdims=True)
            return shares
        return sigmoid(odds)

    @property
    def temperature(self) -> float | None:
        """What logits are divided by; None where labels have slopes of their own."""
        return 1 / self.slopes[0] if self.how == "temperature" else None

    def by_label(self) -> Mapping[str, float] | None:
        """The thresholds by label, None where exactly one label holds."""
        return None if self.thresholds is None else dict(zip(self.labels, self.thresholds, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema": _SCHEMA, "temperature": self.temperature, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """What `to_json` gave; RunError if it is of another schema or damaged."""
        if values.get("schema") != _SCHEMA:
            raise RunError(
                f"a calibration has schema {values.get('schema')!r}, not {_SCHEMA}",
                hint="read it with the mien that wrote it, or run mien evaluate again",
            )
        try:
            known = {name: values[name] for name in cls.__dataclass_fields__}
        except KeyError as error:
            raise RunError(f"a calibration lacks {error}", hint="run mien evaluate again") from error
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(**{**known, **lists})

    def save(self, run: Path) -> None:
        """Writes `calibration.json` into a run directory."""
        atomic_write_json(run / CALIBRATION, self.to_json())


def fit_calibration(
    scores: SplitScores,
    *,
    how: CalibrationMethod = "temperature",
    rule: ThresholdRule = "f1",
    cost: float = 1.0,
    model: str = "",
) -> Calibration:
    """Fits both to the scores of the split that stops training; DataError for "test" and "train"."""
    if scores.split in _NEVER:
        raise DataError(
            f"a calibration fitted on split {scores.split!r} would flatter every score of it",
            hint="fit it on the split by which training stops, [train] select_on",
        )
    label_set = scores.label_set
    slopes, offsets, shared = _lines(scores, how)
    plain = Calibration(
        how=how,
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
        return plain
    thresholds, without = fit_thresholds(plain.apply(scores.scores), scores.targets, rule=rule, cost=cost)
    fields = {name: getattr(plain, name) for name in Calibration.__dataclass_fields__}
    fields |= {"thresholds": tuple(thresholds.tolist()), "defaulted": _named(label_set, without)}
    return Calibration(**fields)


def read_calibration(run: Path) -> Calibration | None:
    """The calibration in a run directory, if there is one; RunError if it is damaged."""
    path = run / CALIBRATION
    if not path.exists():
        return None
    try:
        return Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again") from error


def _lines(
    scores: SplitScores, how: CalibrationMethod
) -> tuple[Float[np.ndarray, " label"], Float[np.ndarray, " label"], tuple[str, ...]]:
    """Slope and offset of each label, and the names of those that have the temperature's."""
    label_set, count = scores.label_set, len(scores.label_set)
    if how == "none":
        return np.ones(count), np.zeros(count), ()
    if how == "platt" and label_set.exclusive:
        raise ConfigError(
            f"evaluate.calibration 'platt' judges each label alone, and in set {label_set.name!r} exactly "
            "one holds",
            hint="use 'temperature'",
        )
    odds = log_odds(scores.scores, exclusive=label_set.exclusive)
    truth = (
        np.eye(count)[true_classes(scores.targets)]
        if label_set.exclusive
        else positives(scores.targets).astype(np.float64)
    )
    slope = best_slope(odds, truth, exclusive=label_set.exclusive)
    slopes, offsets = np.full(count, slope), np.zeros(count)
    if how == "temperature":
        return slopes, offsets, ()
    rarer = np.minimum(truth.sum(axis=0), (1 - truth).sum(axis=0))
    for label in np.flatnonzero(rarer >= _FEW):
        slopes[label], offsets[label] = line_of_label(odds[:, label], truth[:, label], start=slope)
    return slopes, offsets, _named(label_set, rarer < _FEW)


def _named(label_set: LabelSet, which: np.ndarray) -> tuple[str, ...]:
    return tuple(label for label, one in zip(label_set.labels, which, strict=True) if one)
