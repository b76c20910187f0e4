"""Scores of a split with its targets, for metrics and for fitting a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mien.batches.batch import build_split
from mien.errors import DataError, MienError
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.types import Sample

__all__ = ["collect_scores"]


def collect_scores(
    split: str, samples: Sequence[Sample], found: Sequence[Sequence[float] | MienError], label_set: LabelSet
) -> tuple[SplitScores, Mapping[str, MienError]]:
    """The scores of a split, and the errors of the subjects that have none, by their ids.

    Args:
        split: The name of the split.
        samples: Subjects with targets of these labels.
        found: For each sample one score per label, or an error.
        label_set: The labels.

    Raises:
        DataError: There are no samples, one has no target, or no subject could be scored.
        UnknownNameError: A target is not one of the labels.
    """
    errors = {
        sample.subject.id: one
        for sample, one in zip(samples, found, strict=True)
        if isinstance(one, MienError)
    }
    scored = [sample for sample in samples if sample.subject.id not in errors]
    if samples and not scored:
        first = next(iter(errors.values()))
        raise DataError(f"no subject of split {split!r} could be scored: {first}", hint=first.hint)
    data = build_split(split, scored, label_set, images=None, texts=None)
    rows = [one for one in found if not isinstance(one, MienError)]
    scores = SplitScores(
        split=split,
        label_set=data.label_set,
        ids=data.ids,
        groups=data.groups,
        scores=np.array(rows, dtype=np.float32),
        targets=data.targets.numpy().astype(np.float32),
        dimensions=None,
        dimension_targets=data.dimensions.numpy().astype(np.float32),
    )
    return scores, errors
