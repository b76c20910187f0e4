"""The metrics by name, and which of them a label set asks for.

Each metric is a `Metric` next to its function, listed in one line of `mien.registry` (kind "metric").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mien.errors import ConfigError, MienError
from mien.evaluate.metrics.metric import Metric
from mien.labels import BOLD, LabelSet
from mien.registry import resolve

__all__ = ["default_metrics", "find_metric", "load_metric", "primary_metric", "resolve_metric"]


def load_metric(name: str) -> Metric:
    """The metric of this name, or of "package.module:NAME", which is then its name.

    Where a metric differs between label sets, this is the one for sets where exactly one label holds; see
    `resolve_metric`.

    Raises:
        UnknownNameError: No metric has this name.
        ConfigError: The module cannot be imported, or holds something else by that name.
    """
    found = resolve("metric", name)
    if not isinstance(found, Metric):
        raise ConfigError(
            f"metric {name!r} is a {type(found).__name__}",
            hint="name a mien.evaluate.metrics.metric.Metric",
        )
    return _renamed(found, name) if ":" in name else found


def resolve_metric(name: str, label_set: LabelSet) -> Metric:
    """`load_metric`, as it is computed for this label set; ConfigError if it is not defined there."""
    return load_metric(name).for_label_set(label_set)


def find_metric(name: str) -> Metric | None:
    """`load_metric`, or None: a results file may name a metric that is not installed here."""
    try:
        return load_metric(name)
    except MienError:
        return None


def default_metrics(label_set: LabelSet, *, dimensions: bool, labels: bool = True) -> Sequence[str]:
    """What [evaluate] metrics = "auto" stands for, by what a model predicts, the primary one first."""
    if not labels:
        return ("vad_mae", "mR2")
    if label_set == BOLD:
        return ("mAP", "mRA", "mR2", "ERS") if dimensions else ("mAP", "mRA")
    names = ("accuracy", "macro_f1") if label_set.exclusive else ("mAP",)
    return (*names, "vad_mae") if dimensions else names


def primary_metric(label_set: LabelSet) -> Metric:
    """mAP where several labels may hold, accuracy where exactly one does."""
    return load_metric("accuracy" if label_set.exclusive else "mAP")


def _renamed(metric: Metric, name: str) -> Metric:
    multi = None if metric.multi_label is None else replace(metric.multi_label, name=name)
    return replace(metric, name=name, multi_label=multi)
