"""The rows of results: scores, differences, labels, dimensions, calibration, and how often a split was seen.

Goes in: numbers and names. Comes out: values.
Knows nothing about: how the numbers were made, files, pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "FEW",
    "CalibrationRow",
    "Difference",
    "DimensionRow",
    "LabelRow",
    "Look",
    "ResultRow",
    "Results",
]

FEW: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One model's score on one split: the mean over `seeds`, its 95 % interval, the chance level, n samples.

    `labels` is how many labels count: those that some sample of the split has, or the rarest third of them.
    """

    name: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    chance: float
    n: int
    seeds: tuple[int, ...]
    labels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Score of `a` minus score of `b` on the same samples, with its paired 95 % interval."""

    a: str
    b: str
    metric: str
    split: str
    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where the whole interval lies on one side of zero: the difference is there."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label by the model `name`: `value` is its average precision, scikit-learn's, with an interval.

    `prevalence` is the chance level of `value`; `n` is how many samples the split has. `f1` is at a score of
    0.5, or of the highest score where exactly one label holds; `threshold` and `f1_at_threshold` come from a
    calibration, if there is one. Where fewer than `FEW` samples have the label, resampling them says nothing,
    and there is no interval. None: not defined, or not computed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionRow:
    """Valence, arousal or dominance: mean absolute error on 0..1 with its interval, and R2 if it is defined.

    `chance` is the error of always answering the median, `n` how many samples were annotated.
    """

    name: str
    dimension: str
    split: str
    value: float
    low: float
    high: float
    chance: float
    r2: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """A metric before and after what was fitted on another split; the interval is of after minus before.

    For ECE and Brier that is calibrating the scores, for macro_f1 taking the fitted thresholds and not 0.5.
    """

    name: str
    metric: str
    split: str
    before: float
    after: float
    low: float
    high: float
    fitted_on: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How often a split was scored by this run so far, and with how many different weights."""

    split: str
    times: int
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a results file holds."""

    rows: tuple[ResultRow, ...] = ()
    differences: tuple[Difference, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    dimensions: tuple[DimensionRow, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    looks: tuple[Look, ...] = ()
