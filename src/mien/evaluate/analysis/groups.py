"""Builds the rows of results by group of people, such as by annotated gender and age: for audits only.

Groups differ in how often labels hold, and in size, and mAP depends on both: it is shown next to its chance
level, and groups are compared in other metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool

from mien.data.dataset import Record
from mien.evaluate.bootstrap import RESAMPLES, Interval, resample_weights, resampled_interval
from mien.evaluate.metrics.metric import PerResample
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.ranking import share_rankings
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.breakdown_rows import GroupRow
from mien.evaluate.results.results import MIN_POSITIVES
from mien.evaluate.scores import SplitScores

__all__ = ["MAX_GROUPS", "NOT_ANNOTATED", "OTHERS", "build_group_rows", "collect_attributes"]

NOT_ANNOTATED: Final = "not annotated"
OTHERS: Final = "all others"
MAX_GROUPS: Final = 12  # of an attribute, besides those who are not annotated; the smallest ones become one
_COMPARED: Final = ("mRA", "accuracy", "vad_mae")  # they depend little on how many people have a label

Rows = Bool[np.ndarray, " sample"]


def collect_attributes(records: Iterable[Record], names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """The attributes of these names by subject id. People without any are omitted."""
    found = {
        record.sample.subject.id: {
            name: record.attributes[name] for name in names if name in record.attributes
        }
        for record in records
    }
    return {subject_id: attributes for subject_id, attributes in found.items() if attributes}


def build_group_rows(
    scores: SplitScores,
    attributes: Mapping[str, Mapping[str, str]],
    *,
    name: str = "",
    resamples: int = RESAMPLES,
) -> tuple[GroupRow, ...]:
    """One row per attribute, metric and group, the largest annotated group of an attribute first.

    Args:
        scores: A model's scores on one split.
        attributes: The attributes of people, by subject id.
        name: The model.
        resamples: How many resamples of the images of the split the intervals come from.
    """
    names = dict.fromkeys(key for found in attributes.values() for key in found)
    rows: list[GroupRow] = []
    for attribute in names:
        groups = _groups(scores, attribute, attributes)
        if len(groups) > 1:
            rows += _rows_of_attribute(scores, attribute, groups, name, resamples)
    return tuple(rows)


def _groups(
    scores: SplitScores, attribute: str, attributes: Mapping[str, Mapping[str, str]]
) -> dict[str, Rows]:
    """Who is in each group, the largest first; at the end all others, and those who are not annotated."""
    given = [attributes.get(one, {}).get(attribute) or None for one in scores.ids]
    ranked = [value for value, _ in Counter(value for value in given if value is not None).most_common()]
    small = set(ranked[MAX_GROUPS - 1 :]) if len(ranked) > MAX_GROUPS else set()
    names = [OTHERS if value in small else value or NOT_ANNOTATED for value in given]
    values = np.array(names, dtype=object)
    ordered = [value for value in ranked if value not in small]
    return {value: values == value for value in (*ordered, OTHERS, NOT_ANNOTATED) if value in set(names)}


def _metrics(scores: SplitScores) -> Sequence[str]:
    labels = ("accuracy",) if scores.label_set.exclusive else ("mAP", "mRA")
    return (*(labels if scores.has_labels else ()), *(("vad_mae",) if scores.has_dimensions else ()))


def _rows_of_attribute(
    scores: SplitScores, attribute: str, groups: Mapping[str, Rows], name: str, resamples: int
) -> list[GroupRow]:
    items = [
        MetricInput.from_runs(resolve_metric(metric, scores.label_set), [scores])
        for metric in _metrics(scores)
    ]
    found = {
        (item.metric.name, group): _resampled(item, rows, scores.groups, resamples)
        for group, rows in groups.items()
        for item in items
    }
    first = next(iter(groups))
    rows = []
    for item in items:
        metric = item.metric
        for group, people in groups.items():
            value, drawn = found[metric.name, group]
            bounds = None if value is None else resampled_interval(value, drawn)
            gap = _gap(found[metric.name, group], found[metric.name, first])
            is_compared = metric.name in _COMPARED and group != first
            rows.append(
                GroupRow(
                    name=name,
                    split=scores.split,
                    attribute=attribute,
                    group=group,
                    metric=metric.name,
                    value=value,
                    low=_bound(bounds, "low"),
                    high=_bound(bounds, "high"),
                    chance=None if value is None else float(metric.chance(item.targets[people])),
                    n=int(people.sum()),
                    images=len({scores.groups[row] for row in np.flatnonzero(people)}),
                    labels=len(metric.rated_labels(scores.targets[people])) if metric.reads_labels else None,
                    compared_with=first if is_compared and gap is not None else "",
                    difference=gap.value if is_compared and gap is not None else None,
                    difference_low=_bound(gap, "low") if is_compared else None,
                    difference_high=_bound(gap, "high") if is_compared else None,
                )
            )
    return rows


def _resampled(
    item: MetricInput, rows: Rows, groups: Sequence[str], resamples: int
) -> tuple[float | None, PerResample]:
    """The metric of these people, and its resamples; None of too few people, or where it is not defined."""
    part = MetricInput(
        metric=item.metric, targets=item.targets[rows], scores=[one[rows] for one in item.scores]
    )
    if rows.sum() < MIN_POSITIVES or not _has_targets(part) or not part.is_defined:
        return None, np.empty(0)
    with share_rankings():
        # All images of the split are drawn, so that groups of one image are drawn together.
        drawn = [
            item.metric.values(part.targets, part.scores[0], weight[rows])
            for weight in resample_weights(groups, resamples, 0)
        ]
    return part.value(), np.concatenate([np.empty(0), *drawn])


def _has_targets(item: MetricInput) -> bool:
    return bool(np.isfinite(item.targets).any())


def _gap(one: tuple[float | None, PerResample], other: tuple[float | None, PerResample]) -> Interval | None:
    """One group minus another one on the same resamples."""
    if one[0] is None or other[0] is None:
        return None
    return resampled_interval(one[0] - other[0], one[1] - other[1], is_difference=True)


def _bound(found: Interval | None, name: str) -> float | None:
    value = None if found is None else float(getattr(found, name))
    return None if value is None or np.isnan(value) else value
