"""How well estimates of valence, arousal and dominance agree with annotators.

Goes in: two arrays of one row a sample and one column a dimension, 0..1; a target of NaN was not annotated
and does not count. Comes out: a float. Knows nothing about: labels, models, intervals.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mien.errors import DataError

__all__ = ["explained", "mean_r2", "vad_mae"]

Dimensions = Float[np.ndarray, "sample dimension"]


def vad_mae(values: Dimensions, targets: Dimensions) -> float:
    """Mean absolute error over samples and dimensions, on 0..1 (published errors: the same, of /10)."""
    _check(values, targets, "the error")
    return float(np.nanmean(np.abs(np.asarray(values, dtype=np.float64) - targets)))


def mean_r2(values: Dimensions, targets: Dimensions) -> float:
    """mR2: the mean over dimensions of 1 - (squared error) / (squared distance from the mean).

    1 at best, 0 for always answering the mean, negative for worse. A dimension on which all annotated
    samples agree has none, and is left out; DataError if all are.
    """
    _check(values, targets, "R2")
    found = explained(values, targets)
    if np.isnan(found).all():
        raise DataError(
            "R2 is not defined: no dimension differs between samples",
            hint="take mR2 and ERS out of [evaluate] metrics, or evaluate on more samples",
        )
    return float(np.mean(found[~np.isnan(found)]))


def explained(values: Dimensions, targets: Dimensions) -> Float[np.ndarray, " dimension"]:
    """R2 of each dimension; NaN where all annotated samples agree."""
    known = np.isfinite(targets)
    truth = np.where(known, targets, np.nan).astype(np.float64)
    missed = np.where(known, (np.asarray(values, dtype=np.float64) - truth) ** 2, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean = np.nansum(truth, axis=0) / np.maximum(count, 1)
    spread = np.nansum((truth - mean) ** 2, axis=0)
    varied = spread > 1e-12 * count  # what is left of rounding counts as none
    found: np.ndarray = np.full(len(spread), np.nan)
    found[varied] = 1 - missed[varied] / spread[varied]
    return found


def _check(values: Dimensions, targets: Dimensions, what: str) -> None:
    if values.shape != targets.shape or not np.isfinite(values).all():
        raise DataError(
            f"dimensions of shape {values.shape} against {targets.shape}, or not finite",
            hint='train a model with [train] heads = "both", and see that its loss stays finite',
        )
    if not np.isfinite(targets).any():
        raise DataError(
            f"{what} in valence, arousal and dominance is not defined: no sample has them",
            hint="take vad_mae, mR2 and ERS out of [evaluate] metrics",
        )
