"""Scores and targets for tests of metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["multi_label_case", "one_hot"]


def multi_label_case(
    seed: int, *, ties: bool = False, rows: int = 200, labels: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of labels that each hold for some samples, and scores that know something about them."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < rng.uniform(0.05, 0.5, labels)).astype(np.float32)
    targets[0] = 1.0
    scores = np.clip(rng.random((rows, labels)) * 0.8 + 0.2 * targets, 0, 1).astype(np.float32)
    return targets, np.round(scores, 1) if ties else scores


def one_hot(classes: Sequence[int], count: int) -> np.ndarray:
    """Targets of which exactly one label holds."""
    return np.eye(count, dtype=np.float32)[list(classes)]
