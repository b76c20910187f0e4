"""Learning curves: the results of an ablation by the number of training images."""

from __future__ import annotations

from dataclasses import dataclass

from mien.evaluate.results.results import Difference, Evaluation, ResultRow

__all__ = ["CurvePoint", "LearningCurve", "learning_curves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The results with one number of training images; None where a model has no score.

    Attributes:
        train_size: The number of training images.
        rows: One per model of the curve, in its order.
        differences: One per pair of the curve, in its order.
    """

    train_size: int
    rows: tuple[ResultRow | None, ...]
    differences: tuple[Difference | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """The scores of models in one metric on one split, by the number of training images.

    Attributes:
        metric: The metric.
        split: The split that was scored.
        models: The names of the models.
        pairs: The names of the models whose differences are known: the first minus the second.
        points: One per number of training images, ascending.
    """

    metric: str
    split: str
    models: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    points: tuple[CurvePoint, ...]


def learning_curves(results: Evaluation) -> tuple[LearningCurve, ...]:
    """One curve per metric and split, those with differences first; none of results without `train_size`."""
    rows = [row for row in results.rows if row.train_size is not None]
    curves = (
        _learning_curve(results, metric, split)
        for metric, split in dict.fromkeys((row.metric, row.split) for row in rows)
    )
    return tuple(sorted(curves, key=lambda curve: not curve.pairs))


def _learning_curve(results: Evaluation, metric: str, split: str) -> LearningCurve:
    rows = {
        (row.name, row.train_size): row
        for row in results.rows
        if (row.metric, row.split) == (metric, split) and row.train_size is not None
    }
    differences = {
        (item.a, item.b, item.train_size): item
        for item in results.differences
        if (item.metric, item.split) == (metric, split)
    }
    models = tuple(dict.fromkeys(name for name, _ in rows))
    pairs = tuple(dict.fromkeys((a, b) for a, b, _ in differences))
    return LearningCurve(
        metric=metric,
        split=split,
        models=models,
        pairs=pairs,
        points=tuple(
            CurvePoint(
                train_size=size,
                rows=tuple(rows.get((name, size)) for name in models),
                differences=tuple(differences.get((*pair, size)) for pair in pairs),
            )
            for size in sorted({row.train_size or 0 for row in rows.values()})
        ),
    )
