"""The examples on a page: the best and the worst predictions, with image, description and labels.

A sample is rated by label-ranking average precision (Tsoumakas et al. 2010), which is 1 if every true label
outranks every other label. Ties are broken by the margin between the scores of true and other labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from mien.evaluate.explanations.stored import ExplainedPerson
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.media.images import draw_mark
from mien.report.charts import UNIT_SCALE
from mien.report.explained import Why, why
from mien.report.formatting import format_number
from mien.report.page_images import RED_BOX, data_uri
from mien.report.photos import PhotoReader
from mien.types import DIMENSIONS

__all__ = [
    "DimensionScore",
    "ExampleCard",
    "LabelScore",
    "best_and_worst",
    "best_and_worst_rows",
    "rank_labels",
    "rate_samples",
]

_NUM_SCORES: Final = 5
_MAP_SIDE: Final = 400  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """A label with its score, its rank (from 1), and whether annotators chose it."""

    label: str
    score: str
    at: float
    rank: int
    is_true: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionScore:
    """The prediction, within the scale, and the annotators' mean for one dimension ("" if not annotated)."""

    name: str
    predicted: str
    annotated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCard:
    """One example.

    Attributes:
        image: A data URI, or "" with the reason in `error`.
        true_labels: All labels that annotators chose.
        top_scores: The labels with the highest scores.
        missed: The true labels below them.
    """

    id: str
    rating: str
    image: str
    error: str
    description: str | None
    true_labels: tuple[str, ...]
    top_scores: tuple[LabelScore, ...]
    missed: tuple[LabelScore, ...]
    dimensions: tuple[DimensionScore, ...]
    why: Why | None = None


def best_and_worst(
    scores: SplitScores,
    examples: Mapping[str, Example],
    count: int,
    *,
    lowest: float = 0.0,
    photos: PhotoReader | None = None,
    explanations: Mapping[str, ExplainedPerson] | None = None,
) -> tuple[tuple[ExampleCard, ...], tuple[ExampleCard, ...]]:
    """Up to `count` cards of the best samples, best first, and of the worst, worst first, without overlap.

    Samples without a true label or without a stored example are not shown. Predicted dimensions are bounded
    to `lowest` and 1. `photos` opens photos, by default as they are; `explanations` are by id.
    """
    best, worst = best_and_worst_rows(scores, examples, count)
    ratings, _ = rate_samples(scores.scores, positives(scores.targets))
    photos, explained = photos or PhotoReader("full"), explanations or {}

    def cards(chosen: Sequence[int]) -> tuple[ExampleCard, ...]:
        return tuple(
            _card(
                scores,
                row,
                float(ratings[row]),
                examples[scores.ids[row]],
                lowest=lowest,
                photos=photos,
                explained=explained.get(scores.ids[row]),
            )
            for row in chosen
        )

    return cards(best), cards(worst)


def best_and_worst_rows(
    scores: SplitScores, examples: Mapping[str, Example], count: int
) -> tuple[list[int], list[int]]:
    """The rows of the best samples, best first, and of the worst, worst first; see `best_and_worst`."""
    if not scores.has_labels:
        return [], []  # the rating needs labels
    ratings, margins = rate_samples(scores.scores, positives(scores.targets))
    rows = [row for row, id in enumerate(scores.ids) if id in examples and not np.isnan(ratings[row])]
    ranked = sorted(rows, key=lambda row: (-ratings[row], -margins[row], row))
    count = min(count, len(ranked) // 2) if len(ranked) > 1 else len(ranked)
    worst = ranked[len(ranked) - count :][::-1] if len(ranked) > 1 else []
    return ranked[:count], worst


def rate_samples(
    scores: Float[np.ndarray, "sample label"], truth: Bool[np.ndarray, "sample label"]
) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
    """Label-ranking average precision, and the margin between the mean scores of true and other labels.

    Both are NaN for a sample without a true label. Without other labels, the margin is to 0.
    """
    ratings, margins = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    for row in np.flatnonzero(truth.any(axis=1)):
        of_true, of_false = scores[row][truth[row]], scores[row][~truth[row]]
        # For each true label: the share of true labels among those that score at least as high.
        above = (scores[row][None, :] >= of_true[:, None]).sum(axis=1)
        true_above = (of_true[None, :] >= of_true[:, None]).sum(axis=1)
        ratings[row] = np.mean(true_above / above)
        margins[row] = of_true.mean() - (of_false.mean() if len(of_false) else 0.0)
    return ratings, margins


def _card(
    scores: SplitScores,
    row: int,
    rating: float,
    example: Example,
    *,
    lowest: float,
    photos: PhotoReader,
    explained: ExplainedPerson | None,
) -> ExampleCard:
    ranking = rank_labels(scores, row)
    photo = photos.read(example)
    return ExampleCard(
        id=example.id,
        rating=format_number(rating, 2),
        image="" if photo.image is None else data_uri(draw_mark(photo.image, photo.box, RED_BOX)),
        error=photo.reason,
        description=example.description,
        true_labels=tuple(item.label for item in ranking if item.is_true),
        top_scores=tuple(ranking[:_NUM_SCORES]),
        missed=tuple(item for item in ranking[_NUM_SCORES:] if item.is_true),
        dimensions=_dimensions(scores, row, lowest),
        why=None if explained is None else why(explained, photo, max_side=_MAP_SIDE),
    )


def rank_labels(scores: SplitScores, row: int) -> list[LabelScore]:
    """All labels for the subject of a row, the highest score first."""
    values, truth = scores.scores[row], positives(scores.targets[row : row + 1])[0]
    order = np.argsort(-values, kind="stable")
    return [
        LabelScore(
            label=scores.label_set.labels[index],
            score=format_number(float(values[index]), 2),
            at=UNIT_SCALE.at(float(values[index])),
            rank=rank,
            is_true=bool(truth[index]),
        )
        for rank, index in enumerate(order, start=1)
    ]


def _dimensions(scores: SplitScores, row: int, lowest: float) -> tuple[DimensionScore, ...]:
    if scores.dimensions is None:
        return ()
    annotated = np.full(len(DIMENSIONS), np.nan)
    if scores.dimension_targets is not None:
        annotated = scores.dimension_targets[row]
    return tuple(
        DimensionScore(
            name=name,
            predicted=_bounded(float(value), lowest),
            annotated="" if np.isnan(truth) else format_number(float(truth), 2),
        )
        for name, value, truth in zip(DIMENSIONS, scores.dimensions[row], annotated, strict=True)
    )


def _bounded(value: float, lowest: float) -> str:
    """Within the scale; metrics use the model's own value."""
    inside = min(1.0, max(lowest, value))
    return format_number(inside, 2) + (", bounded" if inside != value else "")
